//! The program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    kopia_lite::memory::give_back_at_once();
    kopia_lite::cli::run(std::env::args_os()).into()
}
