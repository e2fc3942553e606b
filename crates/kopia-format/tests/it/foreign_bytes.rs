//! Whatever bytes come in, a parser answers with a value or an error.

use kopia_format::{
    BlobConfig, Ecc, FormatBlob, FormatKey, FormatOptions, ItemCodec, LocalConfig,
    MaintenanceSchedule, PackBuilder, Postamble, RepositoryFormat, RepositoryToken, SessionMarker,
    format_blob::recover_from_pack,
    json,
    local_config::decode_stored_password,
    pack::{LocalIndex, read_local_index},
};
use proptest::prelude::*;

fn format() -> RepositoryFormat {
    RepositoryFormat::new(&FormatOptions::default(), [1; 32], [2; 32])
}

/// A valid document with some bytes changed: gets further than noise does.
fn changed(valid: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, end, cut)| {
        let mut bytes = valid.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(end.index(valid.len()));
        }
        bytes
    })
}

/// What is read is written, read again and written as the same bytes. (Compared as bytes: of the
/// numbers that nobody here knows, Go writes 14.0 as 14.)
fn parse_all(bytes: &[u8]) {
    let key = FormatKey::new([7; 32]);
    if let Ok(blob) = FormatBlob::parse(bytes) {
        let again = FormatBlob::parse(&blob.to_bytes()).map(|again| again.to_bytes());
        assert_eq!(again, Ok(blob.to_bytes()));
        assert!(blob.decrypt(&key).is_err());
    }
    if let Ok(format) = RepositoryFormat::from_payload(bytes) {
        let again = RepositoryFormat::from_payload(&format.to_payload());
        assert_eq!(again.map(|again| again.to_payload()), Ok(format.to_payload()));
        let _ = (format.check(), format.check_parameters());
    }
    if let Ok(config) = LocalConfig::parse(bytes) {
        let again = LocalConfig::parse(&config.to_bytes()).map(|again| again.to_bytes());
        assert_eq!(again, Ok(config.to_bytes()));
    }
    if let Ok(marker) = SessionMarker::parse(bytes) {
        let again = SessionMarker::parse(&marker.to_bytes()).map(|again| again.to_bytes());
        assert_eq!(again, Ok(marker.to_bytes()));
    }
    if let Ok(schedule) = MaintenanceSchedule::parse(bytes) {
        let again = MaintenanceSchedule::parse(&json::to_vec(&schedule));
        assert_eq!(again.map(|again| json::to_vec(&again)), Ok(json::to_vec(&schedule)));
    }
    if let Ok(token) = RepositoryToken::decode(&String::from_utf8_lossy(bytes)) {
        let again = RepositoryToken::decode(&token.encode()).map(|again| again.encode());
        assert_eq!(again, Ok(token.encode()));
    }
    assert!(BlobConfig::decrypt(bytes, &key, &[1; 32]).is_err());
    let _ = (recover_from_pack(bytes, bytes), Postamble::find(bytes));
    let _ = decode_stored_password(bytes);
}

fn documents() -> Vec<Vec<u8>> {
    let mut blob = FormatBlob::new("tool", "1", &[3; 32], "scrypt-65536-8-1");
    blob.encrypt(&format(), &FormatKey::new([4; 32]), [5; 12]).unwrap();
    let storage = r#"{"type":"s3","config":{"bucket":"b","prefix":"p/"}}"#;
    let run = r#"{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01.5Z","success":true}"#;
    let token = RepositoryToken {
        storage: serde_json::from_str(storage).unwrap(),
        password: Some("x".to_owned().into()),
    };
    vec![
        blob.to_bytes(),
        format().to_payload().to_vec(),
        token.encode().as_bytes().to_vec(),
        format!(
            r#"{{"storage":{storage},"caching":{{"maxCacheSize":5,"maxListCacheDuration":1.5}},
            "hostname":"h","username":"u","throttlingLimits":{{"readsPerSecond":0.5}}}}"#
        )
        .into_bytes(),
        format!(r#"{{"nextFullMaintenance":null,"runs":{{"a":[{run}]}}}}"#).into_bytes(),
        br#"{"id":"s1","startTime":"2026-01-01T00:00:00Z","username":"u"}"#.to_vec(),
    ]
}

fn pack() -> (ItemCodec, Vec<u8>) {
    let codec = ItemCodec::new(&format()).unwrap();
    let mut pack = PackBuilder::new([9; 32], None);
    pack.append(vec![1; 100]);
    let iv = codec.hasher().hash(b"index");
    let sealed = codec.seal(&iv, [8; 12], b"index");
    (codec, pack.finish(|padding| padding.fill(0), sealed, &iv).concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_all(&bytes);
    }

    #[test]
    fn changed_documents_are_answered(
        bytes in prop::sample::select(documents()).prop_flat_map(changed),
    ) {
        parse_all(&bytes);
    }

    #[test]
    fn a_changed_end_of_a_pack_gives_the_index_or_an_error(
        bytes in changed(pack().1[4000..].to_vec()),
    ) {
        let (codec, whole) = pack();
        if let Ok(LocalIndex::Plain(plain)) = read_local_index(&codec, whole.len() as u64, &bytes) {
            prop_assert_eq!(plain, b"index");
        }
    }
}

proptest! {
    // Matrices are made anew for each case, which takes its time.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn error_correction_gives_back_what_went_in_or_an_error(
        input in prop::collection::vec(any::<u8>(), 0..3000),
        percent in prop::sample::select(vec![2_u32, 10, 50]),
        at in any::<prop::sample::Index>(),
    ) {
        let ecc = Ecc::new("REED-SOLOMON-CRC32", percent).unwrap();
        let mut stored = ecc.encode(&input);
        let at = at.index(stored.len());
        stored[at] ^= 0x10;
        let decoded = ecc.decode(&stored).unwrap();
        prop_assert_eq!(decoded.bytes, input);
    }
}
