//! The list of objects that a job works on.
//!
//! `bucket,key` in each line and no line of headers: one would be taken for an object, and the job
//! would fail. Keys are encoded as a query's values are, with slashes left ("Specifying a manifest",
//! S3 User Guide).

use std::fmt::Write as _;

use super::{BatchError, invalid};

/// A manifest in the format `S3BatchOperations_CSV_20180820`, with the fields `Bucket` and `Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    bytes: Vec<u8>,
    count: u64,
}

impl Manifest {
    /// All `blobs`, whose keys are `prefix` and the blob's name.
    ///
    /// # Errors
    /// There are none, or the bucket's name holds what would break a line.
    pub fn of<B: AsRef<str>>(
        bucket: &str,
        prefix: &str,
        blobs: impl IntoIterator<Item = B>,
    ) -> Result<Self, BatchError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(invalid("bucket", format!("{bucket:?} is no name of a bucket")));
        }
        let prefix = encode(prefix);
        let (mut text, mut count) = (String::new(), 0);
        for blob in blobs {
            let _ = writeln!(text, "{bucket},{prefix}{}", encode(blob.as_ref()));
            count += 1;
        }
        if count == 0 {
            return Err(invalid("manifest", "it has no objects"));
        }
        Ok(Self { bytes: text.into_bytes(), count })
    }

    /// The bytes to upload.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many objects there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// As Python's `quote_plus(key, safe="/")`, which the manual's examples use.
pub(super) fn encode(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bucket_and_encoded_key_and_there_is_no_header() {
        let blobs = ["p0123456789abcdef0123456789abcdef-s0123456789abcdef11d", "p1"];
        let manifest = Manifest::of("my-bucket", "my backups/größe+1,2/", blobs).unwrap();
        let expected = "my-bucket,my+backups/gr%C3%B6%C3%9Fe%2B1%2C2/\
                        p0123456789abcdef0123456789abcdef-s0123456789abcdef11d\n\
                        my-bucket,my+backups/gr%C3%B6%C3%9Fe%2B1%2C2/p1\n";
        assert_eq!(String::from_utf8_lossy(manifest.bytes()), expected);
        assert_eq!(manifest.count(), 2);
        assert_eq!(encode("a_b.c-d~e*'\"\n"), "a_b.c-d~e%2A%27%22%0A");
    }

    #[test]
    fn what_could_not_be_a_manifest_is_refused() {
        let none: [&str; 0] = [];
        assert!(Manifest::of("bucket", "", none).is_err());
        for bucket in ["", "a,b", "a\nb", "a b"] {
            assert!(Manifest::of(bucket, "", ["p1"]).is_err(), "{bucket:?}");
        }
    }
}
