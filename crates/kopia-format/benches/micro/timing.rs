//! Medians of many runs, and the rows that show them.

use std::time::{Duration, Instant};

/// How often each job is timed.
const RUNS: usize = 11;
/// How long a timing is at least, so that the clock does not count.
const RUN_MIN: Duration = Duration::from_millis(40);

/// So many things each second, if `job` does `things` of them: the median of several runs.
pub fn rate(things: usize, mut job: impl FnMut()) -> f64 {
    // Once for the caches, and to see how often it fits.
    let begun = Instant::now();
    job();
    let once = begun.elapsed().max(Duration::from_nanos(1));
    let times = (RUN_MIN.as_nanos() / once.as_nanos()).clamp(1, 1_000_000) as u32;
    let mut runs: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begun = Instant::now();
            (0..times).for_each(|_| job());
            begun.elapsed() / times
        })
        .collect();
    runs.sort_unstable();
    things as f64 / runs[RUNS / 2].as_secs_f64()
}

/// Above the rows.
pub const HEAD: &str = "job        of                                  is  \
                        limit                            it is  part";

/// One job and its limit, as rates in bytes.
pub fn bytes(job: &str, of: &str, is: f64, limit: &str, limit_is: f64) -> String {
    row([job, of, limit], [is, limit_is].map(mib), is / limit_is)
}

/// One job and its limit, as rates in calls.
pub fn calls(job: &str, of: &str, is: f64, limit: &str, limit_is: f64) -> String {
    let mega = |rate: f64| format!("{:.2} M/s", rate / 1e6);
    row([job, of, limit], [is, limit_is].map(mega), is / limit_is)
}

/// A limit by itself, as a rate in bytes.
pub fn limit(job: &str, of: &str, is: f64) -> String {
    format!("{job:10} {of:30} {:>12}", mib(is))
}

fn row([job, of, limit]: [&str; 3], [is, limit_is]: [String; 2], part: f64) -> String {
    format!("{job:10} {of:30} {is:>12}  {limit:22} {limit_is:>12}  {part:>4.2}")
}

fn mib(rate: f64) -> String {
    format!("{:.0} MiB/s", rate / f64::from(1 << 20))
}
