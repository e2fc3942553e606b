//! Running one program to its end, and what it cost: time, CPU, memory.
//!
//! The kernel keeps the account of each child and hands it over when the child is waited for; that
//! is the only moment at which the peak of its memory is known to the byte. The peak of a child
//! is never told as less than ours, for it begins as a copy of us: this program stays small.

use std::{
    fs::{self, File},
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::programs;

/// What a run cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub wall: Duration,
    /// In the program and in the kernel for it.
    pub cpu: Duration,
    /// Peak of its memory, in bytes.
    pub memory: u64,
}

/// Runs it; gives the cost and what it printed on standard output, which is kept in `folder`.
pub fn run(name: &str, command: &mut Command, folder: &Path) -> anyhow::Result<(Cost, String)> {
    // Files, not pipes: nobody must read while the program runs.
    let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
    command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
    let begun = Instant::now();
    let child = command.spawn().with_context(|| format!("can't run {name}"))?;
    let (status, usage) = wait(child.id())?;
    let wall = begun.elapsed();
    let read =
        |path| -> io::Result<String> { Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned()) };
    let (output, errors) = (read(&stdout)?, read(&stderr)?);
    ensure!(
        status.success(),
        "{name} {:?} ended with {status}:\n{}\n{}",
        command.get_args().collect::<Vec<_>>(),
        programs::tail(&output),
        programs::tail(&errors)
    );
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    let memory = u64::try_from(usage.ru_maxrss).unwrap_or(0) * UNIT_OF_MEMORY;
    Ok((Cost { wall, cpu, memory }, output))
}

/// What `ru_maxrss` counts in.
const UNIT_OF_MEMORY: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };

/// Waits for a child of ours, and takes over its account.
fn wait(child: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: a `rusage` is numbers only, for which all zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to values of our own that live throughout the call.
        let waited = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
        if waited == child {
            return Ok((ExitStatus::from_raw(status), usage));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn time(of: libc::timeval) -> Duration {
    let seconds = u64::try_from(of.tv_sec).unwrap_or(0);
    let micros = u64::try_from(of.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::Scratch;

    #[test]
    fn the_cost_of_a_program_is_its_own_and_a_failure_says_what_it_said() {
        let scratch = Scratch::new("measure", false).expect("there is a place for such");
        let shell =
            |script: &str| run("sh", Command::new("sh").args(["-c", script]), scratch.path());
        let (idle, output) = shell("sleep 0.2; echo done").expect("it succeeds");
        assert_eq!(output, "done\n");
        assert!(idle.wall >= Duration::from_millis(200), "{idle:?}");
        assert!(idle.cpu < idle.wall && idle.memory > 100_000, "{idle:?}");
        let busy = "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done";
        let (busy, _) = shell(busy).expect("it succeeds");
        assert!(busy.cpu > idle.cpu, "{busy:?}, {idle:?}");
        let error = shell("echo why >&2; exit 3").expect_err("it fails").to_string();
        assert!(error.contains("why") && error.contains("3"), "{error}");
    }
}
