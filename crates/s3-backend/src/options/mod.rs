//! What has to be known to reach a bucket, under the names Kopia gives it in a connection file.
//!
//! [`S3Options`] reads and writes the `config` object of `{"type":"s3","config":{…}}` exactly as
//! Kopia does: same keys, same order, same rules for leaving a key out
//! (docs/format/01-blob-storage.md §4.1 and §6). Keys that are unknown here survive a rewrite.

mod json;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Secret;

/// How to reach a bucket: the `config` of a connection of type `s3`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct S3Options {
    /// The bucket; at least 3 characters.
    #[serde(default, deserialize_with = "json::null_as_default")]
    pub bucket: String,
    /// Put before each blob ID as it is: no slash is added.
    #[serde(
        default,
        deserialize_with = "json::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub prefix: String,
    /// `host` or `host:port`, without a scheme.
    #[serde(default, deserialize_with = "json::null_as_default")]
    pub endpoint: String,
    /// Plain HTTP instead of HTTPS.
    #[serde(
        rename = "doNotUseTLS",
        default,
        deserialize_with = "json::null_as_default",
        skip_serializing_if = "json::is_false"
    )]
    pub do_not_use_tls: bool,
    /// HTTPS with whoever answers: no certificate is checked.
    #[serde(
        rename = "doNotVerifyTLS",
        default,
        deserialize_with = "json::null_as_default",
        skip_serializing_if = "json::is_false"
    )]
    pub do_not_verify_tls: bool,
    /// The certificate authorities to trust instead of the system's, in PEM form.
    #[serde(
        rename = "rootCA",
        default,
        with = "json::base64",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub root_ca: Vec<u8>,
    /// Access key ID; empty = look in the environment.
    #[serde(rename = "accessKeyID", default, deserialize_with = "json::null_as_default")]
    pub access_key_id: String,
    /// The access key's secret.
    #[serde(rename = "secretAccessKey", default, deserialize_with = "json::null_as_default")]
    pub secret_access_key: Secret,
    /// The token that belongs to a temporary access key.
    #[serde(rename = "sessionToken", default, deserialize_with = "json::null_as_default")]
    pub session_token: Secret,
    /// A role to take with the access key, or with what other source has keys.
    #[serde(rename = "roleARN", default, deserialize_with = "json::null_as_default")]
    pub role_arn: String,
    /// A name for the role's session.
    #[serde(rename = "sessionName", default, deserialize_with = "json::null_as_default")]
    pub session_name: String,
    /// How long the role's session lasts, in Go's form (`1h0m0s`); kept as it was written.
    #[serde(default = "json::no_duration", deserialize_with = "json::duration")]
    pub duration: String,
    /// Where the role is assumed.
    #[serde(rename = "roleEndpoint", default, deserialize_with = "json::null_as_default")]
    pub role_endpoint: String,
    /// The region of that endpoint.
    #[serde(rename = "roleRegion", default, deserialize_with = "json::null_as_default")]
    pub role_region: String,
    /// The bucket's region; empty = found out from the endpoint's answers.
    #[serde(
        default,
        deserialize_with = "json::null_as_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub region: String,
    /// Speed limits, kept for the layers that enforce them.
    #[serde(flatten)]
    pub limits: ThrottlingLimits,
    /// See the bucket as it was at this time (RFC 3339). Refused when the storage is opened: not
    /// supported yet.
    #[serde(rename = "pointInTime", default, skip_serializing_if = "Option::is_none")]
    pub point_in_time: Option<String>,
    /// Keys that this crate does not know, in their order.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, serde_json::Value>,
}

/// Kopia's limits on a connection; 0 = none. This crate keeps them, it does not enforce them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThrottlingLimits {
    /// Gets and heads per second.
    #[serde(default, serialize_with = "json::go_float", skip_serializing_if = "json::is_zero")]
    pub reads_per_second: f64,
    /// Puts and deletes per second.
    #[serde(default, serialize_with = "json::go_float", skip_serializing_if = "json::is_zero")]
    pub writes_per_second: f64,
    /// Listings per second.
    #[serde(default, serialize_with = "json::go_float", skip_serializing_if = "json::is_zero")]
    pub lists_per_second: f64,
    /// Bytes sent per second.
    #[serde(default, serialize_with = "json::go_float", skip_serializing_if = "json::is_zero")]
    pub max_upload_speed_bytes_per_second: f64,
    /// Bytes received per second.
    #[serde(default, serialize_with = "json::go_float", skip_serializing_if = "json::is_zero")]
    pub max_download_speed_bytes_per_second: f64,
    /// Gets and heads at the same time.
    #[serde(default, skip_serializing_if = "json::is_none")]
    pub concurrent_reads: i64,
    /// Puts and deletes at the same time.
    #[serde(default, skip_serializing_if = "json::is_none")]
    pub concurrent_writes: i64,
}

/// How the bucket's name gets into a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addressing {
    /// As Kopia does it: in the host name for the endpoints of AWS, Google and Aliyun, in the path
    /// for all others and for names with a dot under TLS, whose certificate would not match.
    #[default]
    Auto,
    /// `https://endpoint/bucket/key`.
    Path,
    /// `https://bucket.endpoint/key`.
    VirtualHost,
}

impl Default for S3Options {
    /// Amazon S3, and nothing else set.
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: "s3.amazonaws.com".into(),
            do_not_use_tls: false,
            do_not_verify_tls: false,
            root_ca: Vec::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            session_token: Secret::default(),
            role_arn: String::new(),
            session_name: String::new(),
            duration: json::no_duration(),
            role_endpoint: String::new(),
            role_region: String::new(),
            region: String::new(),
            limits: ThrottlingLimits::default(),
            point_in_time: None,
            unknown: serde_json::Map::new(),
        }
    }
}

impl S3Options {
    /// The URL at which AWS gives roles in a region, for [`S3Options::role_endpoint`]; an empty region
    /// is the global service.
    #[must_use]
    pub fn role_service(region: &str) -> String {
        crate::credentials::role_service(Some(region).filter(|region| !region.is_empty()))
    }
}

impl fmt::Debug for S3Options {
    /// Everything but the secrets, whose place shows only whether they are set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("do_not_use_tls", &self.do_not_use_tls)
            .field("do_not_verify_tls", &self.do_not_verify_tls)
            .field("root_ca_bytes", &self.root_ca.len())
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &self.secret_access_key)
            .field("session_token", &self.session_token)
            .field("role_arn", &self.role_arn)
            .field("point_in_time", &self.point_in_time)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kopia_fixtures::hostile::{Target, deep_json, on_small_stack};

    /// The config object of a connection file that Kopia 0.23.1 wrote, keys aside.
    const FRESH: &str = concat!(
        r#"{"bucket":"b","prefix":"p/","endpoint":"localhost:9000","doNotUseTLS":true,"#,
        r#""accessKeyID":"k","secretAccessKey":"s","sessionToken":"","roleARN":"","#,
        r#""sessionName":"","duration":"0s","roleEndpoint":"","roleRegion":""}"#
    );

    fn read(text: &str) -> S3Options {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_fresh_connection_is_written_as_kopia_writes_it() {
        let options = S3Options {
            bucket: "b".into(),
            prefix: "p/".into(),
            endpoint: "localhost:9000".into(),
            do_not_use_tls: true,
            access_key_id: "k".into(),
            secret_access_key: "s".into(),
            ..S3Options::default()
        };
        assert_eq!(serde_json::to_string(&options).unwrap(), FRESH);
        assert_eq!(read(FRESH), options);
    }

    #[test]
    fn every_key_has_kopias_place_and_unknown_ones_stay() {
        let full = concat!(
            r#"{"bucket":"b","endpoint":"e","doNotVerifyTLS":true,"rootCA":"cGVt","#,
            r#""accessKeyID":"","secretAccessKey":"","sessionToken":"t","roleARN":"r","#,
            r#""sessionName":"n","duration":"1h0m0s","roleEndpoint":"sts","roleRegion":"x","#,
            r#""region":"eu-west-1","readsPerSecond":7,"writesPerSecond":0.5,"#,
            r#""maxUploadSpeedBytesPerSecond":1000000,"concurrentReads":3,"#,
            r#""pointInTime":"2026-01-02T03:04:05Z","newKey":{"z":1,"a":[2]}}"#
        );
        let options = read(full);
        assert_eq!(options.root_ca, b"pem");
        assert_eq!(options.limits.max_upload_speed_bytes_per_second, 1e6);
        assert_eq!(serde_json::to_string(&options).unwrap(), full);
    }

    #[test]
    fn a_connection_may_be_any_bytes() {
        let own = S3Options { root_ca: b"pem".to_vec(), ..read(FRESH) };
        let read = |bytes: &[u8]| {
            let Ok(options) = serde_json::from_slice::<S3Options>(bytes) else { return false };
            let text = serde_json::to_string(&options).expect("it can be written");
            let again: S3Options = serde_json::from_str(&text).expect("we read what we write");
            assert_eq!(serde_json::to_string(&again).expect("it can be written"), text);
            true
        };
        let documents = [FRESH.into(), serde_json::to_vec(&own).unwrap()];
        Target::new("options of S3", read, documents, crate::MEMORY).attack();
        assert_eq!(on_small_stack(read, deep_json()), 0);
    }

    #[test]
    fn what_go_reads_leniently_is_read_leniently() {
        let options =
            read(r#"{"bucket":"b","sessionToken":null,"rootCA":null,"doNotUseTLS":null}"#);
        assert_eq!((options.session_token.expose(), options.duration.as_str()), ("", "0s"));
        assert!(serde_json::from_str::<S3Options>(r#"{"bucket":"b","duration":5}"#).is_err());
        assert!(serde_json::from_str::<S3Options>(r#"{"bucket":"b","rootCA":"%"}"#).is_err());
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let options = S3Options {
            secret_access_key: "hunter2".into(),
            session_token: "tok3n".into(),
            ..S3Options::default()
        };
        let text = format!("{options:?}");
        assert!(!text.contains("hunter2") && !text.contains("tok3n"), "{text}");
        assert!(text.contains("(hidden)"));
    }
}
