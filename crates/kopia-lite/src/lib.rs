//! A client for real Kopia repositories on S3 and on filesystems.
