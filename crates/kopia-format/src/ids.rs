//! To be written.
/// x
pub struct ContentId;
/// x
pub struct ManifestId;
/// x
pub struct ObjectId;
/// x
pub struct SessionId;
