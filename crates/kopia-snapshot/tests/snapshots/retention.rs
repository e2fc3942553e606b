//! Expiry of snapshots by the policy of their source.

use std::path::Path;

use kopia_format::{
    policy::{Policy, Retention},
    snapshot::Source,
    time::GoTime,
};
use kopia_snapshot::{create::CreateRequest, policies, retention};

use crate::support::{Memory, request, write};

#[tokio::test]
async fn sources_of_one_user_never_compete_for_a_place() {
    let (memory, folder) = (Memory::new().await, tempfile::tempdir().unwrap());
    for path in ["/a", "/b"] {
        for secs in [1_000, 2_000, 3_000] {
            write(folder.path().join("f"), format!("{path} {secs}"));
            let time = GoTime::from_secs(secs);
            let source = Source::new("host", "user", path);
            let times = (Some(time), Some(time));
            let request = CreateRequest { source, times, ..request(Path::new(folder.path())) };
            memory.create(request).await.unwrap();
        }
    }
    let writer = memory.repo.writer().unwrap();
    let keep = Retention {
        keep_latest: Some(2),
        keep_hourly: Some(0),
        keep_daily: Some(0),
        keep_weekly: Some(0),
        keep_monthly: Some(0),
        keep_annual: Some(0),
        ..Retention::default()
    };
    let policy = Policy { retention: keep, ..Policy::default() };
    policies::save(&writer, &Source::global(), &policy).await.unwrap();
    writer.flush().await.unwrap();
    let everything_of_the_user = Source::new("host", "user", "");
    let expired = retention::plan(&memory.repo, &everything_of_the_user).await.unwrap();
    let mut paths: Vec<_> =
        expired.iter().map(|m| (m.source.path.as_str(), m.start_time.secs())).collect();
    paths.sort_unstable();
    assert_eq!(paths, [("/a", 1_000), ("/b", 1_000)]);
}
