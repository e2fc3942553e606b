//! Restoring into a target that somebody changes meanwhile: folders and files are swapped for links
//! that lead out of it. Entries may fail; nothing outside changes.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use kopia_format::directory::DirEntry;
use kopia_snapshot::restore::{RestoreEvent, RestoreOptions, RestorePlan, RestoreSink};
use tokio_util::sync::CancellationToken;

use crate::support::{Memory, noise, tree, write};

/// A snapshot of some folders of small files, and folders of this machine.
struct Case {
    memory: Memory,
    root: DirEntry,
    source: tempfile::TempDir,
    target: tempfile::TempDir,
    /// What has to stay as it is: the same names, other bytes, and more files.
    outside: tempfile::TempDir,
    /// Where what was swapped waits.
    aside: tempfile::TempDir,
}

const FOLDERS: usize = 4;

fn plant(root: &Path, first: u32) {
    for folder in 0..FOLDERS {
        for file in 0..12 {
            let path = root.join(format!("d{folder}/below/f{file}"));
            write(path, noise(first + file, 3000));
            write(root.join(format!("d{folder}/f{file}")), noise(first + file, 2000));
        }
        symlink("f1", root.join(format!("d{folder}/link"))).unwrap();
    }
}

impl Case {
    async fn new() -> Self {
        let [source, target, outside, aside] = [(); 4].map(|()| tempfile::tempdir().unwrap());
        plant(source.path(), 0);
        plant(outside.path(), 1000);
        for folder in 0..FOLDERS {
            let path = outside.path().join(format!("d{folder}/extra/below/victim"));
            write(&path, "untouched");
            fs::set_permissions(path, PermissionsExt::from_mode(0o444)).unwrap();
        }
        let memory = Memory::new().await;
        let root = memory.snapshot(source.path()).await.manifest.root_entry.unwrap();
        Self { memory, root, source, target, outside, aside }
    }

    /// Takes the folder or file `name` of the target away and puts a link in its place.
    fn swapper(&self) -> Swapper {
        let [target, outside, aside] =
            [&self.target, &self.outside, &self.aside].map(|it| it.path().to_owned());
        Swapper { target, outside, aside }
    }
}

#[derive(Clone)]
struct Swapper {
    target: PathBuf,
    outside: PathBuf,
    aside: PathBuf,
}

impl Swapper {
    /// Puts a link to the same name outside in the place of `name`. The restore may win every race.
    fn lead_out(&self, name: &str) {
        let place = self.target.join(name);
        let _ = fs::rename(&place, self.aside.join("it"));
        let _ = symlink(self.outside.join(name), place);
    }

    /// Another name of a file outside in the place of `name`.
    fn share(&self, name: &str) {
        let place = self.target.join(name);
        let _ = fs::remove_file(&place);
        let _ = fs::hard_link(self.outside.join(name), place);
    }

    fn lead_back(&self, name: &str) {
        let (place, it) = (self.target.join(name), self.aside.join("it"));
        let _ = fs::remove_file(&place);
        let _ = fs::rename(&it, place);
        let _ = fs::remove_dir_all(&it);
        let _ = fs::remove_file(&it);
    }
}

/// Swaps a folder as soon as the first bytes have come, before they are written.
struct AtTheFirstByte(Swapper, AtomicBool);

impl RestoreSink for AtTheFirstByte {
    fn event(&self, event: RestoreEvent<'_>) {
        if matches!(event, RestoreEvent::Written { .. }) && !self.1.swap(true, Relaxed) {
            for folder in 0..FOLDERS {
                self.0.lead_out(&format!("d{folder}"));
                let _ = fs::rename(self.0.aside.join("it"), self.0.aside.join(folder.to_string()));
            }
        }
    }
}

#[tokio::test]
async fn folders_that_become_links_after_they_were_made_fail_their_entries() {
    let case = Case::new().await;
    let before = tree(case.outside.path());
    for write_files_atomically in [false, true] {
        let options = RestoreOptions {
            ignore_errors: true,
            parallel: 1,
            write_files_atomically,
            ..RestoreOptions::default()
        };
        let target = case.target.path();
        let plan = RestorePlan::of(&case.memory.repo, &case.root, Some(target), &options).await;
        let sink = Arc::new(AtTheFirstByte(case.swapper(), AtomicBool::new(false)));
        let stop = CancellationToken::new();
        let run = plan.unwrap().run(&case.memory.repo, target, &options, sink, &stop);
        let report = run.await.unwrap();
        assert!(tree(case.outside.path()) == before, "something outside the target changed");
        // All that was to lie there, and attributes of the folders below the links.
        assert_eq!(report.files, 0);
        let failed = |path: &str| report.failures.iter().find(|f| f.path == path).unwrap();
        let error = &failed("d1/below/f3").error;
        assert_eq!(error, "d1 on the way there is not a folder");
        assert!(failed("d2/below").error.contains("d2 on the way there is not a folder"));
        for folder in 0..FOLDERS {
            fs::remove_file(case.target.path().join(format!("d{folder}"))).unwrap();
        }
        fs::remove_dir_all(case.aside.path()).unwrap();
        fs::create_dir(case.aside.path()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_swaps_folders_and_files_for_links_all_the_time_changes_nothing_outside() {
    let case = Case::new().await;
    let before = tree(case.outside.path());
    let (over, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let thread = std::thread::spawn({
        let (swapper, over, swaps) = (case.swapper(), over.clone(), swaps.clone());
        move || {
            for number in (0..FOLDERS).cycle() {
                if over.load(Relaxed) {
                    break;
                }
                let names = [format!("d{number}"), format!("d{number}/below")];
                for name in names.iter().chain([&format!("d{number}/f{number}")]) {
                    swapper.lead_out(name);
                    std::thread::yield_now();
                    swapper.lead_back(name);
                }
                swapper.share(&format!("d{number}/below/f{number}"));
                swaps.fetch_add(1, Relaxed);
            }
        }
    });
    let begun = Instant::now();
    let (mut rounds, mut failures) = (0, 0);
    while rounds < 12 || failures == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no restore met a swapped entry");
        let options = RestoreOptions {
            ignore_errors: true,
            write_files_atomically: rounds % 2 == 1,
            delete_extra: rounds % 3 == 1,
            ..RestoreOptions::default()
        };
        match case.memory.restore(&case.root, case.target.path(), &options).await {
            Ok(report) => failures += report.failures.len(),
            Err(_) => failures += 1,
        }
        rounds += 1;
    }
    over.store(true, Relaxed);
    thread.join().unwrap();
    assert!(swaps.load(Relaxed) > 0);
    assert!(tree(case.outside.path()) == before, "something outside the target changed");
    // Left alone, the next restore makes everything whole.
    let options = RestoreOptions { delete_extra: true, ..RestoreOptions::default() };
    case.memory.restore(&case.root, case.target.path(), &options).await.unwrap();
    assert!(tree(case.source.path()) == tree(case.target.path()));
}

#[tokio::test]
async fn a_file_that_shares_its_bytes_with_one_outside_is_replaced() {
    let case = Case::new().await;
    let before = tree(case.outside.path());
    fs::create_dir_all(case.target.path().join("d0")).unwrap();
    case.swapper().share("d0/f0");
    let options = RestoreOptions::default();
    case.memory.restore(&case.root, case.target.path(), &options).await.unwrap();
    assert!(tree(case.outside.path()) == before);
    assert!(tree(case.source.path()) == tree(case.target.path()));
}
