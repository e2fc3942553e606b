//! The one door to build, test, lint, demo and docs: `cargo xtask COMMAND`, see `--help`.
//!
//! One file per command, each with a `run`. What a command checks is said in its file's header.

mod bench;
mod build;
mod ci;
mod demo;
mod deps;
mod dist;
mod docs;
mod flags;
mod interop;
mod layers;
mod lint;
mod place;
mod programs;
mod server;
mod sim;
mod steps;
mod test;
mod tidy;
mod tree;
mod workspace;

use std::process::ExitCode;

use flags::XtaskCmd;
use xshell::Shell;

fn main() -> ExitCode {
    match run(flags::Xtask::from_env_or_exit()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: flags::Xtask) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(workspace::root());
    match flags.subcommand {
        XtaskCmd::Build(flags) => build::run(&sh, &flags),
        XtaskCmd::Test(flags) => test::run(&flags),
        XtaskCmd::Lint(_) => lint::run(&sh),
        XtaskCmd::Ci(_) => ci::run(&sh),
        XtaskCmd::Docs(flags) => docs::run(&sh, &flags),
        XtaskCmd::Dist(flags) => dist::run(&flags),
        XtaskCmd::Demo(flags) => demo::run(&sh, &flags),
        XtaskCmd::Interop(flags) => interop::run(&sh, flags),
        XtaskCmd::Bench(flags) => bench::run(&sh, &flags),
        XtaskCmd::Sim(flags) => sim::run(&sh, &flags),
    }
}
