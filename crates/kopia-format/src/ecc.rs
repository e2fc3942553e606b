//! Error correction: `REED-SOLOMON-CRC32`, wrapped around ciphertext.
//!
//! The input, with its length in front, is cut into data shards, and parity shards are computed
//! over them; every shard carries a CRC, so a damaged one is known to be lost and is computed
//! anew. All parity comes first: then trailing padding of the data needs no storing. Three sizes
//! of input have three layouts, and the layout is found again from the stored length alone.
//! Format: `docs/format/05-objects.md`, section 6.

use std::fmt;

use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::{FormatError, Result};

/// The names of all error correction algorithms; the first is the default.
pub const ALGORITHMS: &[&str] = &["REED-SOLOMON-CRC32"];

const LENGTH_LEN: usize = 4;
const CRC_LEN: usize = 4;
const SMALL_DATA: usize = 6;
const SMALL_PARITY: usize = 2;

/// What [`Ecc::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The bytes that were encoded.
    pub bytes: Vec<u8>,
    /// Whether some of them had to be computed from parity because they were damaged.
    pub repaired: bool,
}

/// The numbers that follow from the overhead percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Data shards per block.
    pub data: usize,
    /// Parity shards per block: so many damaged shards can be made good.
    pub parity: usize,
    /// The longest shard, in bytes without its CRC.
    pub shard_len_max: usize,
}

impl Parameters {
    /// The parameters for this overhead. Kopia computes in 32-bit floats, and so must this.
    pub fn of(overhead_percent: u32) -> Self {
        let shard_len_max = match overhead_percent {
            1 => 1024,
            2 => 512,
            3 => 256,
            0..=6 => 128,
            _ => 64,
        };
        let crc_overhead = 100.0 * CRC_LEN as f32 / shard_len_max as f32;
        let free = (overhead_percent as f32 - crc_overhead).max(0.01);
        let share = |of: usize, part: f32| (of as f64 * f64::from(part)).floor() as usize;
        let parity = share(128, free / 100.0).clamp(1, 128);
        let (data, parity) = match parity {
            1 => (share(2, 100.0 / free).clamp(128, 254), 2),
            _ => (128, parity),
        };
        Self { data, parity, shard_len_max }
    }

    fn shards(&self) -> usize {
        self.data + self.parity
    }

    /// Inputs up to this length, with their length field, have the small layout.
    fn small_in_max(&self) -> usize {
        2 * CRC_LEN * self.shards()
    }

    fn small_out_max(&self) -> usize {
        let shard_len = self.small_in_max().div_ceil(SMALL_DATA);
        (SMALL_DATA + SMALL_PARITY) * (CRC_LEN + shard_len)
    }

    /// Inputs up to this length have one block; longer ones several, of the longest shards.
    fn block_in_max(&self) -> usize {
        self.data * self.shard_len_max
    }

    fn block_out_max(&self) -> usize {
        self.shards() * (CRC_LEN + self.shard_len_max)
    }
}

/// How one input is laid out.
struct Layout<'a> {
    code: &'a ReedSolomon,
    shard_len: usize,
    blocks: usize,
    stores_padding: bool,
}

impl Layout<'_> {
    fn data(&self) -> usize {
        self.code.data_shard_count()
    }

    fn parity(&self) -> usize {
        self.code.parity_shard_count()
    }

    fn stored_shard_len(&self) -> usize {
        CRC_LEN + self.shard_len
    }
}

/// An error correction with its tables. One serves all threads.
pub struct Ecc {
    parameters: Parameters,
    small: ReedSolomon,
    big: ReedSolomon,
}

impl Ecc {
    /// The algorithm `name` with about `overhead_percent` of additional bytes.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] for an unknown name.
    pub fn new(name: &str, overhead_percent: u32) -> Result<Self> {
        if !ALGORITHMS.contains(&name) {
            return Err(FormatError::Unsupported { what: "ECC", name: name.to_owned() });
        }
        let parameters = Parameters::of(overhead_percent);
        let code = |data, parity| {
            ReedSolomon::new(data, parity).expect("there are at most 256 shards, none of it zero")
        };
        Ok(Self {
            parameters,
            small: code(SMALL_DATA, SMALL_PARITY),
            big: code(parameters.data, parameters.parity),
        })
    }

    /// The numbers that this one works with.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Adds parity to `input`, which must be shorter than 4 GiB.
    pub fn encode(&self, input: &[u8]) -> Vec<u8> {
        let length = u32::try_from(input.len()).expect("an item is shorter than 4 GiB");
        let used = LENGTH_LEN + input.len();
        let layout = self.layout_of_input(used);
        let block_len = layout.data() * layout.shard_len;
        let mut plain = Vec::with_capacity(block_len * layout.blocks);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(input);
        plain.resize(block_len * layout.blocks, 0);

        let shards = layout.blocks * (layout.data() + layout.parity());
        let mut out = Vec::with_capacity(shards * layout.stored_shard_len());
        let mut parity = vec![vec![0; layout.shard_len]; layout.parity()];
        for block in plain.chunks_exact(block_len) {
            let data: Vec<&[u8]> = block.chunks_exact(layout.shard_len).collect();
            layout.code.encode_sep(&data, &mut parity).expect("all shards have one length");
            for shard in &parity {
                push_shard(&mut out, shard, layout.shard_len);
            }
        }
        let stored = if layout.stores_padding { plain.len() } else { used };
        for (at, shard) in plain.chunks_exact(layout.shard_len).enumerate() {
            let Some(left) = stored.checked_sub(at * layout.shard_len).filter(|left| *left > 0)
            else {
                break;
            };
            push_shard(&mut out, shard, left.min(layout.shard_len));
        }
        out
    }

    /// Takes the parity off again and repairs what it can.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] when more shards are damaged than there is parity for, or the
    /// length inside disagrees with the length of `stored`.
    pub fn decode(&self, stored: &[u8]) -> Result<Decoded> {
        let layout = self.layout_of_stored(stored.len());
        let parity_len = layout.blocks * layout.parity() * layout.stored_shard_len();
        let (parity, data) = stored.split_at(parity_len.min(stored.len()));
        let mut plain = Vec::with_capacity(data.len());
        let mut repaired = false;
        for block in 0..layout.blocks {
            let from = plain.len();
            if !read_data(&layout, data, block, &mut plain) {
                plain.truncate(from);
                rebuild(&layout, parity, data, block, &mut plain)?;
                repaired = true;
            }
        }
        strip_length(&mut plain, stored_data_len(&layout, data.len()))?;
        Ok(Decoded { bytes: plain, repaired })
    }

    fn layout_of_input(&self, used: usize) -> Layout<'_> {
        let p = &self.parameters;
        let one_block = |code: &ReedSolomon| used.div_ceil(code.data_shard_count());
        let (code, shard_len, blocks) = if used <= p.small_in_max() {
            (&self.small, one_block(&self.small), 1)
        } else if used <= p.block_in_max() {
            (&self.big, one_block(&self.big), 1)
        } else {
            (&self.big, p.shard_len_max, used.div_ceil(p.block_in_max()))
        };
        Layout { code, shard_len, blocks, stores_padding: used <= p.block_in_max() }
    }

    fn layout_of_stored(&self, len: usize) -> Layout<'_> {
        let p = &self.parameters;
        let one_block =
            |code: &ReedSolomon| len.div_ceil(code.total_shard_count()).max(CRC_LEN + 1) - CRC_LEN;
        let (code, shard_len, blocks) = if len <= p.small_out_max() {
            (&self.small, one_block(&self.small), 1)
        } else if len <= p.block_out_max() {
            (&self.big, one_block(&self.big), 1)
        } else {
            (&self.big, p.shard_len_max, len.div_ceil(p.block_out_max()))
        };
        Layout { code, shard_len, blocks, stores_padding: len <= p.block_out_max() }
    }
}

impl fmt::Debug for Ecc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ecc").field(&self.parameters).finish()
    }
}

/// Writes the CRC of the whole shard and its first `stored` bytes.
fn push_shard(out: &mut Vec<u8>, shard: &[u8], stored: usize) {
    out.extend_from_slice(&crc32fast::hash(shard).to_be_bytes());
    out.extend_from_slice(&shard[..stored]);
}

/// A stored shard without its CRC, if that is right. What lies beyond the end counts as zero.
fn intact_shard(area: &[u8], at: usize, shard_len: usize) -> Option<Vec<u8>> {
    let area = area.get(at..)?;
    let (crc, rest) = area.split_first_chunk::<CRC_LEN>()?;
    let mut shard = rest[..rest.len().min(shard_len)].to_vec();
    shard.resize(shard_len, 0);
    (crc32fast::hash(&shard) == u32::from_be_bytes(*crc)).then_some(shard)
}

/// A data shard of a block: as stored, or zeros where only padding would be; `None` if damaged.
fn data_shard(layout: &Layout<'_>, data: &[u8], index: usize) -> Option<Vec<u8>> {
    let at = index * layout.stored_shard_len();
    if at >= data.len() {
        return Some(vec![0; layout.shard_len]);
    }
    intact_shard(data, at, layout.shard_len)
}

/// Appends the data of one block; false if a shard of it is damaged.
fn read_data(layout: &Layout<'_>, data: &[u8], block: usize, plain: &mut Vec<u8>) -> bool {
    let first = block * layout.data();
    for index in first..first + layout.data() {
        let at = index * layout.stored_shard_len();
        match data.get(at..at + layout.stored_shard_len()) {
            // The usual case needs no copy in between.
            Some(stored) => {
                let (crc, shard) = stored.split_at(CRC_LEN);
                if crc32fast::hash(shard).to_be_bytes() != crc {
                    return false;
                }
                plain.extend_from_slice(shard);
            }
            None => match data_shard(layout, data, index) {
                Some(shard) => plain.extend_from_slice(&shard),
                None => return false,
            },
        }
    }
    true
}

/// Appends the data of one block after computing its damaged shards.
fn rebuild(
    layout: &Layout<'_>,
    parity: &[u8],
    data: &[u8],
    block: usize,
    plain: &mut Vec<u8>,
) -> Result<()> {
    let first = block * layout.data();
    let data_shards = (first..first + layout.data()).map(|i| data_shard(layout, data, i));
    let first = block * layout.parity();
    let parity_shards = (first..first + layout.parity())
        .map(|i| intact_shard(parity, i * layout.stored_shard_len(), layout.shard_len));
    let mut shards: Vec<Option<Vec<u8>>> = data_shards.chain(parity_shards).collect();
    layout
        .code
        .reconstruct_data(&mut shards)
        .map_err(|_| FormatError::Damaged { what: "error-corrected item" })?;
    for shard in shards.iter().take(layout.data()).flatten() {
        plain.extend_from_slice(shard);
    }
    Ok(())
}

/// How many bytes of data lie in a data area of this length, CRCs not counted.
fn stored_data_len(layout: &Layout<'_>, area: usize) -> usize {
    let rest = area % layout.stored_shard_len();
    area / layout.stored_shard_len() * layout.shard_len + rest.saturating_sub(CRC_LEN)
}

/// Reads the length in front, checks it against what is there and cuts both ends off.
fn strip_length(plain: &mut Vec<u8>, available: usize) -> Result<()> {
    let damaged = FormatError::Damaged { what: "error-corrected item" };
    let Some(length) = plain.first_chunk::<LENGTH_LEN>() else { return Err(damaged) };
    let end = u64::from(u32::from_be_bytes(*length)) + LENGTH_LEN as u64;
    match usize::try_from(end) {
        Ok(end) if end <= available.min(plain.len()) => {
            plain.truncate(end);
            plain.drain(..LENGTH_LEN);
            Ok(())
        }
        _ => Err(damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::{hex, spec_bytes, vectors};
    use serde_json::Value;
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    /// Making the tables takes longer than using them, so they are made once per percentage.
    fn ecc(case: &Value) -> Arc<Ecc> {
        static MADE: Mutex<BTreeMap<u32, Arc<Ecc>>> = Mutex::new(BTreeMap::new());
        let percent = case["overheadPercent"].as_u64().unwrap() as u32;
        let mut made = MADE.lock().unwrap();
        let new = || Arc::new(Ecc::new(ALGORITHMS[0], percent).unwrap());
        Arc::clone(made.entry(percent).or_insert_with(new))
    }

    fn sha256(bytes: &[u8]) -> String {
        hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes))
    }

    #[test]
    fn the_parameters_of_every_percentage_are_kopias() {
        let file = vectors("ecc.json");
        let cases = file["parameters"].as_array().unwrap();
        assert_eq!(cases.len(), 15);
        for case in cases {
            let p = ecc(case).parameters();
            assert_eq!(case["dataShards"], p.data, "{case}");
            assert_eq!(case["parityShards"], p.parity, "{case}");
            assert_eq!(case["maxShardSize"], p.shard_len_max, "{case}");
            assert_eq!(case["thresholdParityInput"], p.small_in_max(), "{case}");
            assert_eq!(case["thresholdParityOutput"], p.small_out_max(), "{case}");
            assert_eq!(case["thresholdBlocksInput"], p.block_in_max(), "{case}");
            assert_eq!(case["thresholdBlocksOutput"], p.block_out_max(), "{case}");
        }
    }

    #[test]
    fn every_input_is_encoded_as_kopia_does_and_decoded_again() {
        let file = vectors("ecc.json");
        let cases = file["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 270);
        for case in cases {
            let input = spec_bytes(case["input"].as_str().unwrap());
            let encoded = ecc(case).encode(&input);
            assert_eq!(case["length"], encoded.len(), "{case}");
            assert_eq!(case["sha256"], sha256(&encoded), "{case}");
            if case["encoded"].is_string() {
                assert_eq!(hex(&case["encoded"]), encoded);
            }
            let decoded = ecc(case).decode(&encoded).unwrap();
            assert!(!decoded.repaired && decoded.bytes == input, "{case}");
        }
    }

    #[test]
    fn damage_within_the_parity_is_repaired_and_beyond_it_reported() {
        let file = vectors("ecc.json");
        let cases = file["recover"].as_array().unwrap();
        assert_eq!(cases.len(), 54);
        for case in cases {
            let input = spec_bytes(case["input"].as_str().unwrap());
            let mut stored = ecc(case).encode(&input);
            for at in case["xor55at"].as_array().unwrap() {
                stored[at.as_u64().unwrap() as usize] ^= 0x55;
            }
            match ecc(case).decode(&stored) {
                Ok(decoded) => {
                    assert_eq!(case["recovered"], true, "{case}");
                    assert_eq!(decoded.bytes, input, "{case}");
                }
                Err(e) => {
                    assert!(case["error"].is_string(), "{case}");
                    assert_eq!(e, FormatError::Damaged { what: "error-corrected item" });
                }
            }
        }
    }

    #[test]
    fn a_repair_is_told() {
        let ecc = Ecc::new(ALGORITHMS[0], 10).unwrap();
        let input = spec_bytes("ctr:repair:100000");
        let mut stored = ecc.encode(&input);
        let last = stored.len() - 1;
        stored[last] ^= 1;
        assert_eq!(ecc.decode(&stored), Ok(Decoded { bytes: input, repaired: true }));
    }

    #[test]
    fn bytes_of_any_length_are_refused_or_short_never_a_panic() {
        let ecc = Ecc::new(ALGORITHMS[0], 2).unwrap();
        let noise = spec_bytes("ctr:noise:200000");
        for len in (0..400).chain([1807, 1808, 1809, 85_656, 85_657, 90_000, 200_000]) {
            for bytes in [&noise[..len], &vec![0; len][..], &vec![0xff; len][..]] {
                if let Ok(decoded) = ecc.decode(bytes) {
                    assert!(decoded.bytes.len() <= len, "{len}");
                }
            }
        }
    }

    #[test]
    fn an_inner_length_beyond_the_data_is_damage() {
        let ecc = Ecc::new(ALGORITHMS[0], 5).unwrap();
        let mut plain = vec![0, 0, 1, 0, 1, 2];
        assert!(strip_length(&mut plain, 6).is_err());
        let mut cut = ecc.encode(&spec_bytes("ctr:cut:60000"));
        cut.truncate(cut.len() - 20_000);
        assert!(ecc.decode(&cut).is_err());
        assert!(ecc.decode(&[]).is_err(), "Kopia returns nothing here; an item is never empty");
    }

    #[test]
    fn unknown_algorithms_are_named() {
        let error = Ecc::new("PARITY", 5).unwrap_err();
        assert_eq!(error, FormatError::Unsupported { what: "ECC", name: "PARITY".to_owned() });
    }
}
