//! Opens a format blob and lists what a pack says it holds.
//!
//! `cargo run -p kopia-format --example inspect -- FORMAT_BLOB PASSWORD [PACK]` takes two files of
//! a filesystem repository: `kopia.repository.f` and any `p…` or `q…` blob. Without arguments it
//! makes a small repository in memory and looks into that.

use std::{env, error::Error, fs};

use kopia_format::{
    ContentId, FormatBlob, FormatOptions, Index, IndexBuilder, IndexEntry, ItemCodec, PackBuilder,
    RepositoryFormat,
    pack::{LocalIndex, read_local_index},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (format_blob, password, pack) = match arguments.as_slice() {
        [] => {
            let (format_blob, pack) = sample()?;
            (format_blob, "sample".to_owned(), Some(pack))
        }
        [format_blob, password] => (fs::read(format_blob)?, password.clone(), None),
        [format_blob, password, pack] => {
            (fs::read(format_blob)?, password.clone(), Some(fs::read(pack)?))
        }
        _ => return Err("usage: inspect FORMAT_BLOB PASSWORD [PACK]".into()),
    };

    let blob = FormatBlob::parse(&format_blob)?;
    println!("written by {} {}", blob.tool, blob.build_version);
    let format = blob.decrypt(&blob.derive_key(password.as_bytes())?)?;
    println!("version {}, {}, {}", format.version, format.hash, format.encryption);
    println!("objects are cut by {}", format.splitter);
    for warning in format.check()? {
        println!("warning: {warning}");
    }
    match pack {
        Some(pack) => list(&ItemCodec::new(&format)?, &pack),
        None => Ok(()),
    }
}

/// Prints every entry of a pack's own index.
fn list(codec: &ItemCodec, pack: &[u8]) -> Result<(), Box<dyn Error>> {
    let LocalIndex::Plain(index) = read_local_index(codec, pack.len() as u64, pack)? else {
        return Err("this is no pack, or it is cut off".into());
    };
    for entry in Index::parse(index)?.iter() {
        let state = if entry.deleted { "deleted" } else { "" };
        println!("{} at {} +{} {state}", entry.id, entry.offset, entry.packed_length);
    }
    Ok(())
}

/// A format blob and a pack with two contents. All that must be random is constant here.
fn sample() -> kopia_format::Result<(Vec<u8>, Vec<u8>)> {
    let mut blob = FormatBlob::new("inspect", "sample", &[1; 32], "pbkdf2-sha256-600000");
    let format = RepositoryFormat::new(&FormatOptions::default(), [2; 32], [3; 32]);
    let key = blob.derive_key(b"sample")?;
    blob.encrypt(&format, &key, [4; 12])?;

    let codec = ItemCodec::new(&format)?;
    let mut pack = PackBuilder::new([5; 32], None);
    let mut index = IndexBuilder::new();
    for plain in [&b"first content"[..], b"second content"] {
        let hash = codec.hasher().hash(plain);
        let sealed = codec.seal(hash.iv(), [6; 12], plain);
        let packed_length = sealed.len() as u32;
        index.add(IndexEntry {
            id: ContentId::new(None, &hash)?,
            pack: "p00000000000000000000000000000001-s1".into(),
            offset: pack.append(sealed),
            packed_length,
            original_length: plain.len() as u32,
            timestamp: 1_800_000_000,
            deleted: false,
            format_version: 3,
            compression: 0,
            encryption_key_id: 0,
        });
    }
    let index = index.build(format.index_version, Some([7; 32]))?;
    let iv = codec.hasher().hash(&index);
    let sealed = codec.seal(&iv, [8; 12], &index);
    let pieces = pack.finish(|padding| padding.fill(9), sealed, &iv);
    Ok((blob.to_bytes(), pieces.concat()))
}
