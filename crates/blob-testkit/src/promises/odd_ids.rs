//! Every valid ID names a blob of its own, whatever it means to a path, a URL or XML.

use super::{
    Fresh, Must, Verdict, ensure, fails_as, id, list, pattern, put_many, read, same_bytes, writable,
};
use blob_core::ReadRange;

const ODD: &[&str] = &[
    "a",
    "with.dots.in.it",
    "ends.with.f",
    "ends.with.f.f",
    ".begins-with-a-dot",
    "x.tmp.0123456789abcdef",
    "trailing.",
    "-dash-first",
    "~tilde",
    "UPPER-and-lower-differ",
    "upper-AND-lower-differ",
    "blank inside and more than twenty bytes",
    " blanks around ",
    "plus+and%20percent%2Fand?question=&#hash",
    "<xml>&amp;\"quotes\"'<br>",
    "back\\slash",
    "colon:semicolon;comma,star*",
    "ünïcödé-日本語-😀",
    "u\u{308}-is-not-composed",
    "ü-is-composed",
];

pub(super) async fn every_valid_id_names_its_own_blob(fresh: &Fresh) -> Verdict {
    let storage = writable(fresh)?;
    let mut names: Vec<String> = ODD.iter().map(|&name| name.to_owned()).collect();
    names.push("l".repeat(200));
    names.push(format!("p{}-s0123456789abcdef147", "0123456789abcdef".repeat(10)));
    let blobs: Vec<_> = names.iter().zip(1..).map(|(name, n)| (id(name), pattern(n, 64))).collect();
    put_many(storage, &blobs).await?;
    for (blob, bytes) in &blobs {
        same_bytes(format!("reading {blob:?}"), &read(storage, blob).await?, bytes)?;
        let meta = storage.head(blob).await.must(format!("the head of {blob:?}"))?;
        ensure!(meta.id == *blob, "the head of {blob:?} is one of {:?}", meta.id);
        let found = list(storage, blob.as_str()).await?.into_iter().any(|meta| meta.id == *blob);
        ensure!(found, "{blob:?} is not in the list of its own ID");
    }
    let mut listed: Vec<_> = list(storage, "").await?.into_iter().map(|meta| meta.id).collect();
    let mut expected: Vec<_> = blobs.iter().map(|(id, _)| id.clone()).collect();
    listed.sort();
    expected.sort();
    ensure!(listed == expected, "the list gives {listed:?} instead of {expected:?}");
    for (blob, _) in &blobs {
        storage.delete(blob).await.must(format!("the delete of {blob:?}"))?;
        let got = storage.get(blob, ReadRange::Full).await;
        fails_as(format!("reading the deleted {blob:?}"), got, "NotFound", |e| e.is_not_found())?;
    }
    Ok(())
}
