//! Marks held against a set of IDs, over segments with duplicates, deletions and a watermark.

use std::collections::{BTreeMap, HashSet};

use blob_core::{BlobId, BlobMeta, Timestamp};
use kopia_format::index::IndexBuilder;
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{EntryFilter, index::segments::Segment};

/// Contents that the index may have; half as many more it never has.
const CONTENTS: u32 = 40;

fn content(n: u32) -> ContentId {
    let hash = kopia_fixtures::spec_bytes(&format!("ctr:{n}:16"));
    let prefix = [None, Some(b'k'), Some(b'm'), Some(b'x')][n as usize % 4];
    ContentId::new(prefix, &hash).unwrap()
}

fn entry(n: u32, timestamp: i64, deleted: bool, pack: u8) -> IndexEntry {
    IndexEntry {
        id: content(n),
        pack: format!("p{pack}").into(),
        offset: n * 100,
        packed_length: n + 28,
        original_length: n,
        timestamp,
        deleted,
        format_version: 3,
        compression: 0,
        encryption_key_id: 0,
    }
}

/// What one index blob says.
fn segment(name: &str, entries: impl IntoIterator<Item = IndexEntry>) -> Arc<Segment> {
    let bytes = entries.into_iter().collect::<IndexBuilder>().build(2, None).unwrap();
    let meta = BlobMeta {
        id: BlobId::new(name).unwrap(),
        size: bytes.len() as u64,
        modified: Timestamp::from_secs(0),
        class: None,
        state: None,
        has_checksum: None,
    };
    Arc::new(Segment::parse(meta, bytes.into()).unwrap())
}

fn view(sources: &[Vec<IndexEntry>], watermark: Option<i64>) -> Arc<IndexView> {
    let segments = sources.iter().enumerate();
    let segments = segments.map(|(n, source)| segment(&format!("xn{n}"), source.iter().cloned()));
    Arc::new(IndexView::new(segments.collect(), watermark, 0))
}

/// Versions of few contents, so that they meet.
fn version_of_a_content() -> impl Strategy<Value = IndexEntry> {
    (0..CONTENTS, 0..4_i64, any::<bool>(), 0..3_u8)
        .prop_map(|(n, timestamp, deleted, pack)| entry(n, timestamp, deleted, pack))
}

proptest! {
    #[test]
    fn marks_agree_with_a_set_of_ids(
        // More than sixteen segments are asked through a filter.
        sources in vec(vec(version_of_a_content(), 1..20), 0..24),
        watermark in option::of(0..5_i64),
        marked in vec(0..CONTENTS * 3 / 2, 0..60),
    ) {
        let view = view(&sources, watermark);
        let there: BTreeMap<ContentId, IndexEntry> = view
            .iter(&EntryFilter::with_deleted())
            .map(|entry| (entry.id, entry))
            .collect();
        let marks = Marks::new(Arc::clone(&view));
        let mut model = HashSet::new();
        for n in marked {
            let id = content(n);
            let expected = match there.contains_key(&id) {
                false => Marked::Missing,
                true if model.insert(id) => Marked::First,
                true => Marked::Again,
            };
            prop_assert_eq!(marks.mark(&id).unwrap(), expected);
            prop_assert_eq!(marks.count(), model.len() as u64);
        }
        for n in 0..CONTENTS * 3 / 2 {
            let id = content(n);
            prop_assert_eq!(marks.is_marked(&id).unwrap(), model.contains(&id));
            let found = view.find(&id).unwrap();
            prop_assert_eq!(found.as_ref(), there.get(&id));
        }
        let expected: Vec<_> =
            there.into_values().map(|entry| (entry.clone(), model.contains(&entry.id))).collect();
        prop_assert_eq!(marks.entries().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn each_content_is_the_first_for_one_thread_alone() {
    let all: Vec<_> = (0..2_000).map(|n| entry(n, 1, n % 3 == 0, 0)).collect();
    let marks = Marks::new(view(&[all.clone(), all[..500].to_vec()], None));
    let firsts: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let marked = (0..2_000).map(|n| marks.mark(&content(n)).unwrap());
                    marked.filter(|marked| *marked == Marked::First).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((firsts, marks.count()), (2_000, 2_000));
    assert!(marks.entries().all(|(_, is_marked)| is_marked));
}

#[test]
fn of_an_absent_content_nothing_is_read_and_nothing_marked() {
    let segments: Vec<_> = (0..30).map(|n| vec![entry(n, 1, false, 0)]).collect();
    let marks = Marks::new(view(&segments, None));
    let other_hash = ContentId::new(None, &[7; 20]).unwrap();
    assert_eq!(marks.mark(&other_hash).unwrap(), Marked::Missing);
    for n in 1_000..2_000 {
        assert_eq!(marks.mark(&content(n)).unwrap(), Marked::Missing);
    }
    let read = marks.view().lookups_that_read();
    assert!(read < 10, "{read} of 1000 look-ups read an index");
    assert_eq!(marks.count(), 0);
    assert_eq!(Marks::new(Arc::default()).mark(&content(1)).unwrap(), Marked::Missing);
}

#[test]
fn kept_marks_count_as_long_as_their_index_blobs_do() {
    let one = segment("xn1", (0..100).map(|n| entry(n, 1, false, 0)));
    let two = segment("xn2", (50..150).map(|n| entry(n, 2, n % 2 == 0, 0)));
    let new = segment("xn3", (90..200).map(|n| entry(n, 3, false, 0)));
    let view = |segments: &[&Arc<Segment>], watermark| {
        Arc::new(IndexView::new(segments.iter().map(|it| Arc::clone(it)).collect(), watermark, 0))
    };
    let marks = Marks::new(view(&[&one, &two], Some(1)));
    (0..150).step_by(7).for_each(|n| _ = marks.mark(&content(n)).unwrap());
    let bytes = marks.to_bytes();
    let same = Marks::restore(view(&[&two, &one], Some(1)), &bytes).unwrap();
    assert!(same.entries().eq(marks.entries()));

    let more = Marks::restore(view(&[&new, &two, &one], Some(1)), &bytes).unwrap();
    for n in 0..200 {
        let was_marked = n < 150 && n % 7 == 0;
        assert_eq!(more.is_marked(&content(n)).unwrap(), was_marked, "{n}");
        let expected = if was_marked { Marked::Again } else { Marked::First };
        assert_eq!(more.mark(&content(n)).unwrap(), expected, "{n}");
    }
    assert_eq!(more.count(), 200);
    assert!(more.entries().all(|(_, is_marked)| is_marked));

    let one_longer = segment("xn1", (0..101).map(|n| entry(n, 1, false, 0)));
    let views = [
        view(&[&one], Some(1)),
        view(&[&one, &new], Some(1)),
        view(&[&one_longer, &two], Some(1)),
        view(&[&one, &two], Some(2)),
        view(&[&one, &two], None),
    ];
    assert!(views.into_iter().all(|view| Marks::restore(view, &bytes).is_none()));
    let same = view(&[&one, &two], Some(1));
    for n in 0..bytes.len() {
        assert!(Marks::restore(Arc::clone(&same), &bytes[..n]).is_none(), "cut at {n}");
        let mut flipped = bytes.clone();
        flipped[n] ^= 1;
        assert!(Marks::restore(Arc::clone(&same), &flipped).is_none(), "flipped at {n}");
    }
}
