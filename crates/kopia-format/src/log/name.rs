//! The IDs of log blobs.

use crate::{FormatError, Result, time::GoTime};

/// What the IDs of log blobs begin with.
pub const LOG_BLOB_PREFIX: &str = "_log_";

/// What the ID of a log blob says, all but the hash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBlobName {
    /// What all chunks of one log share: [`session_id`], or whatever two words stand there.
    pub session: String,
    /// When the chunk was begun, in Unix seconds.
    pub start_secs: i64,
    /// When it was ended, in Unix seconds.
    pub end_secs: i64,
    /// Which chunk of the log it is, from 1; 0 where no number stands there, at which Kopia does
    /// not look.
    pub chunk: u64,
}

impl LogBlobName {
    /// Reads an ID as leniently as Kopia: words between underscores, of which the fifth and the
    /// sixth are times; what stands behind the seventh is the hash.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] where Kopia skips the blob: another prefix, too few words, a time
    /// that is no number of 64 bits.
    pub fn parse(blob_id: &str) -> Result<Self> {
        let malformed =
            |reason| FormatError::malformed("log blob ID", format!("{blob_id:?} has {reason}"));
        let rest = blob_id
            .strip_prefix(LOG_BLOB_PREFIX)
            .ok_or_else(|| malformed("another prefix than _log_"))?;
        let words: Vec<&str> = rest.splitn(6, '_').collect();
        let [time, random, start, end, chunk, _hash] = words[..] else {
            return Err(malformed("too few parts"));
        };
        Ok(Self {
            session: format!("{time}_{random}"),
            start_secs: start.parse().map_err(|_| malformed("no start time"))?,
            end_secs: end.parse().map_err(|_| malformed("no end time"))?,
            chunk: chunk.parse().unwrap_or(0),
        })
    }

    /// The ID up to the hash, for [`ItemCodec::seal_blob`](crate::ItemCodec::seal_blob).
    ///
    /// A time before 1970, which a wrong clock gives, is written as 0: a dash would end the part of
    /// the ID that the hash has to be in.
    pub fn prefix(&self) -> String {
        let Self { session, start_secs, end_secs, chunk } = self;
        let (start, end) = (start_secs.max(&0), end_secs.max(&0));
        format!("{LOG_BLOB_PREFIX}{session}_{start}_{end}_{chunk}_")
    }
}

/// The ID of a log that is begun now: local time and two random bytes, `20261124131205_ab12`.
///
/// `local` is the time that a clock on the wall shows, as if it were UTC. Kopia writes it so for
/// people, and never reads it.
pub fn session_id(local: GoTime, random: [u8; 2]) -> String {
    let shown = GoTime::from_secs(local.secs()).to_string();
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    format!("{digits}_{}", hex::encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::blob_iv;

    /// Written by Kopia 0.23.1, fixture `many`.
    const SEEN: &str =
        "_log_20261124133511_e4de_1795527311_1795527312_1_a30d3ed9dc997ddc8fead039a78f81e4";

    #[test]
    fn a_name_of_kopia_is_read_and_made_alike() {
        let name = LogBlobName::parse(SEEN).unwrap();
        assert_eq!(name.session, "20261124133511_e4de");
        assert_eq!((name.start_secs, name.end_secs, name.chunk), (1_795_527_311, 1_795_527_312, 1));
        assert_eq!(format!("{}a30d3ed9dc997ddc8fead039a78f81e4", name.prefix()), SEEN);
        assert_eq!(session_id(GoTime::from_secs(name.start_secs), [0xe4, 0xde]), name.session);
    }

    #[test]
    fn reading_is_as_lenient_as_kopias() {
        let parse = |id| LogBlobName::parse(id).ok();
        for id in ["_log_a_b_+1_-2_x_y_z", "_log___1_-2__", "_log_a_b_1_-2_-1_"] {
            let name = parse(id).unwrap_or_else(|| panic!("{id}"));
            assert_eq!((name.start_secs, name.end_secs, name.chunk), (1, -2, 0), "{id}");
        }
        let bad = [
            "",
            "_",
            "_log_",
            "_log_0_zero",
            "_log_a_b_1_2_3",
            "_lag_a_b_1_2_3_4",
            "log_a_b_1_2_3_4",
            "_log_a_b_x_2_3_4",
            "_log_a_b_1__3_4",
            "_log_a_b_1_9223372036854775808_3_4",
        ];
        bad.iter().for_each(|id| assert_eq!(parse(id), None, "{id}"));
    }

    #[test]
    fn a_clock_before_1970_takes_no_part_of_the_hash_away() {
        let session = session_id(GoTime::from_secs(-5), [0; 2]);
        let name = LogBlobName { session, start_secs: -5, end_secs: -1, chunk: 1 };
        let id = format!("{}a30d3ed9dc997ddc8fead039a78f81e4", name.prefix());
        assert_eq!(id, "_log_19691231235955_0000_0_0_1_a30d3ed9dc997ddc8fead039a78f81e4");
        assert!(blob_iv(&id).is_ok());
    }
}
