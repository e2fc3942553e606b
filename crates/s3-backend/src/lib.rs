//! How S3 keeps blobs: rusoto requests over hyper 1 and rustls 0.23.
