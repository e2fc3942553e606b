//! Checksums over a payload in pieces, as base64 in the byte order of S3's headers.
//!
//! Source: AWS' guide "Checking object integrity" and the fields `x-amz-checksum-…` of PutObject.
//! Each is the base64 of the big-endian checksum.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use blob_core::{Checksum, Payload};
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};
use ring::digest;

/// The header that carries a checksum of this kind.
pub fn header(kind: Checksum) -> &'static str {
    match kind {
        Checksum::Crc32 => "x-amz-checksum-crc32",
        Checksum::Crc32c => "x-amz-checksum-crc32c",
        Checksum::Crc64Nvme => "x-amz-checksum-crc64nvme",
        Checksum::Sha1 => "x-amz-checksum-sha1",
        Checksum::Sha256 => "x-amz-checksum-sha256",
    }
}

/// The header's value for these bytes.
///
/// # Errors
/// They can't be read.
pub fn value(kind: Checksum, data: &Payload) -> io::Result<String> {
    match kind {
        Checksum::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc, 4, data),
        Checksum::Crc32c => crc(CrcAlgorithm::Crc32Iscsi, 4, data),
        Checksum::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme, 8, data),
        Checksum::Sha1 => sha(&digest::SHA1_FOR_LEGACY_USE_ONLY, data),
        Checksum::Sha256 => sha(&digest::SHA256, data),
    }
}

/// The value of `Content-MD5` for these bytes.
///
/// # Errors
/// They can't be read.
pub fn md5(data: &Payload) -> io::Result<String> {
    let mut sum = Md5::new();
    each(data, |piece| sum.update(piece))?;
    Ok(STANDARD.encode(sum.finalize()))
}

fn each(data: &Payload, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    data.pieces().iter().try_for_each(|piece| {
        take(&piece.read()?);
        Ok(())
    })
}

fn crc(algorithm: CrcAlgorithm, width: usize, data: &Payload) -> io::Result<String> {
    let mut sum = crc_fast::Digest::new(algorithm);
    each(data, |piece| sum.update(piece))?;
    Ok(STANDARD.encode(&sum.finalize().to_be_bytes()[8 - width..]))
}

fn sha(algorithm: &'static digest::Algorithm, data: &Payload) -> io::Result<String> {
    let mut sum = digest::Context::new(algorithm);
    each(data, |piece| sum.update(piece))?;
    Ok(STANDARD.encode(sum.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogues_come_out_of_any_pieces() {
        let mut data = Payload::from(&b"1234"[..]);
        data.push(&b"56789"[..]);
        let hex = |kind| {
            let bytes = STANDARD.decode(value(kind, &data).unwrap()).unwrap();
            bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        // The "check" of reveng's catalogue, and FIPS 180 over "123456789".
        assert_eq!(hex(Checksum::Crc32), "cbf43926");
        assert_eq!(hex(Checksum::Crc32c), "e3069283");
        assert_eq!(hex(Checksum::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(Checksum::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            hex(Checksum::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(md5(&data).unwrap(), "JfnnlDI7RTiF9RgfG2JNCw==");
    }
}
