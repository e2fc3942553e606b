//! The commands and their flags.

use std::path::PathBuf;

xflags::xflags! {
    /// The one door to build, test, lint, demo and docs.
    cmd xtask {
        /// Build the kopia-lite program, optimised.
        cmd build {
            /// Build without optimisation instead.
            optional --debug
        }
        /// Run all tests and give the totals. This is the test command of the README.
        cmd test {
            /// Only this crate; may be repeated.
            repeated -p,--package package: String
            /// Only tests whose name holds this text.
            optional filter: String
        }
        /// Check format, clippy, docs, layers, dependencies, tidiness and what tarballs would hold.
        cmd lint {}
        /// What every change must pass: lint, then test, then sim.
        cmd ci {}
        /// Package each library crate, then build and test it from its own tarball, alone.
        cmd dist {
            /// Only this crate; may be repeated.
            repeated -p,--package package: String
            /// Build only: run no tests and no examples.
            optional --no-test
        }
        /// Build the API docs and list the guides.
        cmd docs {
            /// Open them in a browser.
            optional --open
        }
        /// Back up and restore this project's sources on an embedded S3 server, in under a minute.
        cmd demo {
            /// Keep the folder with everything in it, and say where it is.
            optional --keep
        }
        /// Prove against a real Kopia that both clients share repositories, in both directions.
        cmd interop {
            /// The Kopia program to compare with, 0.23.1.
            required --kopia kopia: PathBuf
            /// The program to test; without it, kopia-lite is built and used.
            optional --kopia-lite kopia_lite: PathBuf
            /// Only scenarios whose name holds this text.
            optional --only only: String
            /// Leave the scenarios on the S3 server out.
            optional --no-s3
            /// Only this: archived packs on another S3 server that knows them, such as moto, at
            /// HOST:PORT without TLS.
            optional --endpoint endpoint: String
            /// Keep the folder with everything in it, and say where it is.
            optional --keep
        }
        /// Live through months of several clients, maintenance and kills over one repository, by seeds.
        cmd sim {
            /// The first seed.
            required --seed seed: u64
            /// How many seeds; one alone, which is the default, shows what happened in it.
            optional --count count: u64
            /// Make this mistake on purpose, and fail if no seed finds it.
            optional --plant plant: String
        }
        /// Measure whole programs at whole work, beside others. Everything takes hours, and 1 GB of
        /// disk for each course of one client: choose.
        cmd bench {
            /// What is measured: end-to-end, which is the default; micro: the work on each byte; or
            /// index: opening and asking indexes of many contents.
            /// thaw: plans of thaws over a million contents in 50,000 packs.
            /// maintenance: full maintenance by the number of contents; with --against beside it.
            optional --scenario scenario: String
            /// A client to compare with, as NAME=PATH, of kopia, restic, rustic, and kopia-lite for
            /// another build of it; may be repeated.
            repeated --against against: String
            /// Only these data sets, of small, big, tiny, kernel.
            optional --data data: String
            /// Only these storages, of fs, s3, s3-30ms.
            optional --storage storage: String
            /// Only these policies, of none, zstd-fastest.
            optional --policy policy: String
            /// Only these steps, of create, first, unchanged, changed, restore, folder, verify.
            optional --step step: String
            /// How many contents the indexes have, for --scenario index. Default: 1M,10M,75M. For
            /// --scenario maintenance: 100000,1000000,10000000; with --against one number, 1000000.
            optional --contents contents: String
            /// How often each client does everything; medians are shown. Default: 3.
            optional --rounds rounds: usize
            /// A factor for the size of the data sets. Default: 1.
            optional --scale scale: f64
            /// Below which folder everything happens, instead of the system's place for such.
            optional --dir dir: PathBuf
            /// Write everything that was measured to this file.
            optional --json json: PathBuf
            /// The program to measure; without it, kopia-lite is built and used.
            optional --kopia-lite kopia_lite: PathBuf
            /// The S3 server; without it, s3-testkit is built and used.
            optional --s3-testkit s3_testkit: PathBuf
        }
    }
}
