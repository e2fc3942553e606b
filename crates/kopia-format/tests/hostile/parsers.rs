//! Every parser of foreign bytes as one function: reads, uses what it read, and says whether there
//! was anything to read. The fuzz targets call the same functions.
//!
//! What is read must be read alike once written, which is compared as bytes: `1e2` in a key that
//! nobody knows is written as `100`, which is another number to serde_json though not to Kopia.

use std::sync::LazyLock;

use kopia_format::{
    BlobConfig, Cipher, Compressor, ContentId, Directory, Ecc, FormatBlob, FormatKey,
    FormatOptions, GoTime, Index, IndexBlob, IndirectObject, ItemCodec, LocalConfig,
    MaintenanceParameters, MaintenanceSchedule, ManifestContent, ManifestId, ObjectId, Policy,
    Postamble, RepositoryFormat, RepositoryToken, SessionId, SessionMarker, SnapshotManifest,
    Source, SplitterKind, compress,
    epoch::{EpochLists, EpochSnapshot, IndexBlobName, PREFIX_UNCOMPACTED},
    format_blob::recover_from_pack,
    index::Outline,
    json,
    keys::{PurposeKey, hkdf_sha256},
    legacy::{CleanupSchedule, CompactionLog, active_set},
    local_config::decode_stored_password,
    log::{LogBlob, LogBlobName, LogText, log_sessions},
    pack::{LocalIndex, read_local_index},
    time::{duration_text, mode_text, parse_duration, parse_mode},
};
use ring::aead;

/// The most that contents expand to in these tests: the caller's limit of [`compress::decompress`].
pub const EXPANDED_MAX: usize = 64 << 10;

/// Where the tail of a pack begins.
pub const TAIL_AT: u64 = 4096;

pub const UNIQUE_ID: [u8; 32] = [1; 32];
pub const IV: [u8; 16] = [3; 16];

/// What seals all documents that are sealed.
pub static CODEC: LazyLock<ItemCodec> = LazyLock::new(|| codec(0));
pub static ECC_CODEC: LazyLock<ItemCodec> = LazyLock::new(|| codec(10));
pub static ECC: LazyLock<Ecc> =
    LazyLock::new(|| Ecc::new("REED-SOLOMON-CRC32", 10).expect("its name is right"));

fn codec(percent: u32) -> ItemCodec {
    let options = FormatOptions { ecc_overhead_percent: percent, ..FormatOptions::default() };
    ItemCodec::new(&RepositoryFormat::new(&options, [1; 32], [2; 32]))
        .expect("the default algorithms exist")
}

pub fn key() -> FormatKey {
    FormatKey::new([7; 32])
}

pub fn maintenance_key() -> PurposeKey<32> {
    PurposeKey::derive(&[2; 32], &UNIQUE_ID, "maintenance schedule").expect("32 bytes are a key")
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

// The format blobs and what finds them.

pub fn format_blob(bytes: &[u8]) -> bool {
    let Ok(blob) = FormatBlob::parse(bytes) else { return false };
    let _ = blob.decrypt(&key());
    let written = blob.to_bytes();
    assert_eq!(FormatBlob::parse(&written).map(|blob| blob.to_bytes()), Ok(written));
    true
}

pub fn repository_format(bytes: &[u8]) -> bool {
    let Ok(format) = RepositoryFormat::from_payload(bytes) else { return false };
    let _ = (format.check(), format.check_parameters());
    let written = format.to_payload();
    let again = RepositoryFormat::from_payload(&written).map(|format| format.to_payload());
    assert_eq!(again, Ok(written));
    true
}

pub fn blobcfg(bytes: &[u8]) -> bool {
    let derive = |purpose| hkdf_sha256(key().as_bytes(), &UNIQUE_ID, purpose, 32);
    let (aes, aad) = (derive(b"AES").expect("a key"), derive(b"CHECKSUM").expect("a key"));
    let aes = aead::UnboundKey::new(&aead::AES_256_GCM, &aes).expect("32 bytes");
    let mut sealed = bytes.to_vec();
    let nonce = aead::Nonce::assume_unique_for_key([5; 12]);
    aead::LessSafeKey::new(aes)
        .seal_in_place_append_tag(nonce, aead::Aad::from(&aad[..]), &mut sealed)
        .expect("it is short");
    sealed.splice(0..0, [5; 12]);
    let Ok(config) = BlobConfig::decrypt(&sealed, &key(), &UNIQUE_ID) else { return false };
    let _ = (config.check(), config.is_retention_enabled());
    true
}

pub fn sealed_blobcfg(bytes: &[u8]) -> bool {
    BlobConfig::decrypt(bytes, &key(), &UNIQUE_ID).is_ok()
}

pub fn pack_copy(bytes: &[u8]) -> bool {
    recover_from_pack(bytes, bytes).is_some_and(|blob| !blob.is_empty())
}

// Connections.

pub fn local_config(bytes: &[u8]) -> bool {
    let Ok(config) = LocalConfig::parse(bytes) else { return false };
    let _ = config.format_blob_cache();
    let written = config.to_bytes();
    assert_eq!(LocalConfig::parse(&written).map(|config| config.to_bytes()), Ok(written));
    true
}

pub fn token(bytes: &[u8]) -> bool {
    let Ok(token) = RepositoryToken::decode(&text(bytes)) else { return false };
    let written = token.encode();
    assert_eq!(RepositoryToken::decode(&written).map(|token| token.encode()), Ok(written));
    true
}

pub fn stored_password(bytes: &[u8]) -> bool {
    decode_stored_password(bytes).is_ok()
}

// Items, packs, indexes.

/// The first line is the name, the rest the sealed blob.
pub fn sealed_blob(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (id, sealed) = (text(&bytes[..end]), bytes.get(end + 1..).unwrap_or_default());
    let _ = SessionId::of_blob(&id);
    CODEC.open_blob(&id, sealed).is_ok()
}

pub fn sealed_item(bytes: &[u8]) -> bool {
    let cipher = Cipher::new("CHACHA20-POLY1305-HMAC-SHA256", &[2; 32]).expect("it exists");
    assert!(cipher.open(&IV, bytes).is_err(), "it was sealed with another cipher");
    CODEC.open(&IV, bytes).is_ok()
}

pub fn corrected_item(bytes: &[u8]) -> bool {
    ECC_CODEC.open_reporting(&IV, bytes).is_ok()
}

/// Error correction alone, which gives back what has no checksum of its own.
pub fn error_correction(bytes: &[u8]) -> bool {
    ECC.decode(bytes).is_ok_and(|decoded| decoded.bytes.len() <= bytes.len())
}

pub fn postamble(bytes: &[u8]) -> bool {
    let Some(postamble) = Postamble::find(bytes) else { return false };
    let _ = postamble.encode();
    true
}

pub fn local_index(bytes: &[u8]) -> bool {
    match read_local_index(&CODEC, TAIL_AT + bytes.len() as u64, bytes) {
        Ok(LocalIndex::Plain(plain)) => Index::parse(plain).is_ok(),
        _ => false,
    }
}

pub fn index(bytes: &[u8]) -> bool {
    let Ok(index) = Index::parse(bytes) else { return false };
    for entry in &index {
        assert_eq!(index.find(&entry.id), Ok(Some(entry)), "every entry is found by its ID");
    }
    for prefix in [None, Some(b'k'), Some(b'm')] {
        assert!(index.with_prefix(prefix).all(|entry| entry.id.prefix() == prefix));
    }
    assert!(index.packs().count() <= bytes.len());
    true
}

/// An outline, which opens no index but its own.
pub fn outline(bytes: &[u8]) -> bool {
    let Ok(outline) = Outline::from_bytes(bytes.to_vec().into()) else { return false };
    assert!(outline.memory() <= 16 * bytes.len());
    let _ = Index::with_outline(&[2, 17, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], outline);
    true
}

pub fn epoch_name(bytes: &[u8]) -> bool {
    IndexBlobName::parse(&text(bytes)).is_some()
}

/// A listing, one name a line.
pub fn epoch_listing(bytes: &[u8]) -> bool {
    let text = text(bytes);
    let named = |prefix: &str| -> Vec<IndexBlob> {
        let ids = text.lines().filter(|id| id.starts_with(prefix));
        ids.map(|id| IndexBlob { id: id.to_owned(), length: 1, timestamp: GoTime::ZERO }).collect()
    };
    let mut epochs = EpochSnapshot::new(EpochLists {
        markers: named("xe"),
        watermarks: named("xw"),
        singles: named("xs"),
        ranges: named("xr"),
    });
    let _ = (epochs.unsettled_epochs(), epochs.watermark(), epochs.missing_epochs());
    epochs.add_all_uncompacted(named(PREFIX_UNCOMPACTED));
    epochs.complete_index_set().is_ok_and(|set| !set.is_empty())
}

pub fn compaction_log(bytes: &[u8]) -> bool {
    let Ok(log) = CompactionLog::parse(bytes) else { return false };
    let listed: Vec<_> = log.input_metadata.iter().chain(&log.output_metadata).cloned().collect();
    assert!(active_set(&listed, [&log]).len() <= listed.len());
    true
}

pub fn cleanup_schedule(bytes: &[u8]) -> bool {
    CleanupSchedule::parse(bytes).is_ok()
}

pub fn session_marker(bytes: &[u8]) -> bool {
    let Ok(marker) = SessionMarker::parse(bytes) else { return false };
    assert_eq!(SessionMarker::parse(&marker.to_bytes()), Ok(marker));
    true
}

/// The names of log blobs, one a line.
pub fn log_names(bytes: &[u8]) -> bool {
    let blobs = text(bytes);
    let blobs = blobs.lines().enumerate().map(|(at, id)| LogBlob {
        timestamp: GoTime::from_secs(at as i64),
        id: id.to_owned(),
        length: at as u64,
    });
    let found = log_sessions(blobs);
    for session in &found.sessions {
        assert!(!session.chunks.is_empty());
        let (start_secs, end_secs) = (session.start_secs, session.end_secs);
        let name = LogBlobName { session: session.id.clone(), start_secs, end_secs, chunk: 1 };
        let again = LogBlobName::parse(&(name.prefix() + "0")).map(|name| name.session);
        assert_eq!(again.as_ref(), Ok(&session.id));
    }
    !found.sessions.is_empty()
}

pub fn log_text(bytes: &[u8]) -> bool {
    LogText::new(bytes.to_vec()).lines(EXPANDED_MAX).is_ok()
}

/// Contents of all compressors: the header ID says which.
pub fn compressed(bytes: &[u8]) -> bool {
    let _ = compress::header_id(bytes).map(Compressor::by_id);
    compress::decompress(None, bytes, EXPANDED_MAX).is_ok_and(|plain| plain.len() <= EXPANDED_MAX)
}

// Trees and manifests.

pub fn directory(bytes: &[u8]) -> bool {
    let Ok(mut directory) = Directory::parse(bytes) else { return false };
    directory.sort();
    assert!(directory.entries.iter().all(|entry| directory.find(&entry.name).is_some()));
    let written = directory.to_bytes();
    assert_eq!(Directory::parse(&written).map(|directory| directory.to_bytes()), Ok(written));
    true
}

pub fn indirect(bytes: &[u8]) -> bool {
    let Ok(object) = IndirectObject::parse(bytes) else { return false };
    let _ = object.total_length();
    assert_eq!(IndirectObject::parse(&object.to_bytes()), Ok(object));
    true
}

pub fn manifests(bytes: &[u8]) -> bool {
    ManifestContent::parse(bytes).is_ok()
}

pub fn manifests_json(bytes: &[u8]) -> bool {
    let Ok(content) = ManifestContent::parse_json(bytes) else { return false };
    for entry in &content.entries {
        let _ = (entry.payload::<SnapshotManifest>(), entry.payload::<Policy>());
    }
    if content.entries.is_empty() {
        // Written as null, which Kopia does not read, nor do we; nobody writes it.
        return true;
    }
    let again = content.to_json();
    // Blanks are taken out the first time; then it stays as it is.
    let content = ManifestContent::parse_json(&again).expect("we read what we write");
    assert_eq!(content.to_json(), again);
    true
}

pub fn snapshot(bytes: &[u8]) -> bool {
    let id = ManifestId::new("00ff");
    let Ok(manifest) = SnapshotManifest::parse(&id, bytes) else { return false };
    let _ = (manifest.labels(), manifest.to_stored());
    SnapshotManifest::parse(&id, &json::to_vec(&manifest)).expect("we read what we write");
    true
}

pub fn policy(bytes: &[u8]) -> bool {
    let Ok(policy) = Policy::parse(bytes) else { return false };
    let _ = policy.check(&Source::new("h", "u", "/p"));
    Policy::parse(&json::to_vec(&policy)).expect("we read what we write");
    true
}

pub fn maintenance_schedule(bytes: &[u8]) -> bool {
    let Ok(schedule) = MaintenanceSchedule::parse(bytes) else { return false };
    let written = json::to_vec(&schedule);
    let again = MaintenanceSchedule::parse(&written).map(|schedule| json::to_vec(&schedule));
    assert_eq!(again, Ok(written));
    true
}

pub fn sealed_schedule(bytes: &[u8]) -> bool {
    MaintenanceSchedule::decrypt(bytes, &maintenance_key()).is_ok()
}

pub fn maintenance_parameters(bytes: &[u8]) -> bool {
    serde_json::from_slice::<MaintenanceParameters>(bytes).is_ok()
}

// Single values.

pub fn time(bytes: &[u8]) -> bool {
    let Ok(time) = text(bytes).parse::<GoTime>() else { return false };
    assert_eq!(time.to_string().parse(), Ok(time));
    GoTime::from_unix_nanos(time.unix_nanos()).to_string();
    true
}

pub fn duration(bytes: &[u8]) -> bool {
    let Ok(nanos) = parse_duration(&text(bytes)) else { return false };
    assert_eq!(parse_duration(&duration_text(nanos)), Ok(nanos));
    true
}

pub fn mode(bytes: &[u8]) -> bool {
    let Ok(mode) = parse_mode(&text(bytes)) else { return false };
    parse_mode(&mode_text(mode)).is_ok_and(|again| mode_text(again) == mode_text(mode))
}

pub fn cron(bytes: &[u8]) -> bool {
    Policy::check_cron(&text(bytes)).is_ok()
}

pub fn source(bytes: &[u8]) -> bool {
    let Ok(source) = Source::parse(&text(bytes), "h", "u", "/cwd") else { return false };
    !source.to_string().is_empty()
}

pub fn content_id(bytes: &[u8]) -> bool {
    if let Ok(id) = ContentId::from_key(bytes) {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    let Ok(id) = text(bytes).parse::<ContentId>() else { return false };
    assert_eq!(id.to_string().parse(), Ok(id));
    true
}

pub fn object_id(bytes: &[u8]) -> bool {
    let Ok(id) = text(bytes).parse::<ObjectId>() else { return false };
    assert_eq!(id.to_string().parse(), Ok(id));
    let _ = (id.unwrapped(), id.try_wrapped(), id.with_compression());
    true
}

/// Names of splitters, compressors, hashes and ciphers.
pub fn algorithm(bytes: &[u8]) -> bool {
    let name = &*text(bytes);
    let splitter = SplitterKind::parse(name).map(SplitterKind::max_segment);
    let options = FormatOptions {
        hash: name.to_owned(),
        encryption: name.to_owned(),
        ecc: name.to_owned(),
        ..FormatOptions::default()
    };
    let _ = RepositoryFormat::new(&options, [1; 32], [2; 32]).check();
    splitter.is_ok() || Compressor::by_name(name).is_ok()
}
