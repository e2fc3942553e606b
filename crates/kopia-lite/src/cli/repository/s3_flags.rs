//! Flags that name a bucket on S3, and what AWS' own variables say where no flag does.
//!
//! The connection file keeps what came of it, so that Kopia and later commands mean the same bucket
//! without flags and variables.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use kopia_format::time::duration_text;
use s3_backend::{S3Options, Secret, ThrottlingLimits};

use super::flags::{SpeedFlags, duration};
use crate::connect::{backends, base64};

/// Where S3 is, unless somebody says otherwise.
const AMAZON: &str = "s3.amazonaws.com";

/// A bucket on S3.
#[derive(Debug, Clone, Args)]
pub struct S3Flags {
    /// Name of the bucket.
    #[arg(long)]
    pub bucket: Option<String>,
    /// Host and port of the S3 service; else those of AWS_ENDPOINT_URL_S3, else s3.amazonaws.com.
    #[arg(long)]
    endpoint: Option<String>,
    /// Region; found out where it is not given.
    #[arg(long, default_value = "")]
    region: String,
    /// Access key ID; the environment's where it is not given.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "", hide_env_values = true)]
    access_key: String,
    /// Secret access key.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "", hide_env_values = true)]
    secret_access_key: Secret,
    /// Session token of temporary credentials.
    #[arg(long, env = "AWS_SESSION_TOKEN", default_value = "", hide_env_values = true)]
    session_token: Secret,
    /// Take the keys of this profile of AWS' shared files, at each command, instead.
    #[arg(long, value_name = "NAME")]
    aws_profile: Option<String>,
    /// Take this role with the keys.
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    /// Name of the role's session.
    #[arg(long, value_name = "NAME", requires = "role_arn", default_value = "kopia-lite")]
    role_session_name: String,
    /// How long the role is taken at a time.
    #[arg(long, value_name = "DURATION", requires = "role_arn", value_parser = duration,
        default_value = "1h")]
    role_duration: std::time::Duration,
    /// URL of the service that gives the role; AWS' own where it is not given.
    #[arg(long, value_name = "URL", requires = "role_arn")]
    sts_endpoint: Option<String>,
    /// Put the bucket into the path of requests.
    #[arg(long, conflicts_with = "virtual_host")]
    path_style: bool,
    /// Put the bucket into the host name of requests.
    #[arg(long)]
    virtual_host: bool,
    /// Text before every blob ID in the bucket, put there as it is: end it with a slash.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Use HTTP instead of HTTPS.
    #[arg(long)]
    disable_tls: bool,
    /// Take any certificate.
    #[arg(long)]
    disable_tls_verification: bool,
    /// Certificate authority as base64 of PEM.
    #[arg(long, env = "ROOT_CA_PEM_BASE64", value_name = "BASE64")]
    root_ca_pem_base64: Option<String>,
    /// Certificate authority in a PEM file; else that of AWS_CA_BUNDLE.
    #[arg(long, value_name = "PATH")]
    root_ca_pem_path: Option<PathBuf>,
    #[command(flatten)]
    speed: SpeedFlags,
}

impl S3Flags {
    /// The options as the connection file keeps them.
    ///
    /// # Errors
    /// A certificate authority that can't be read, or given twice; an endpoint in a variable that is
    /// no URL; keys beside a profile.
    pub fn options(&self) -> anyhow::Result<S3Options> {
        let (endpoint, is_plain) = self.endpoint(variable)?;
        let mut options = S3Options {
            bucket: self.bucket.clone().context("--bucket is missing")?,
            prefix: self.prefix.clone(),
            endpoint,
            do_not_use_tls: self.disable_tls || is_plain,
            do_not_verify_tls: self.disable_tls_verification,
            root_ca: self.root_ca()?,
            access_key_id: self.access_key.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
            region: self.region.clone(),
            limits: ThrottlingLimits {
                max_download_speed_bytes_per_second: self.speed.max_download_speed.unwrap_or(0.0),
                max_upload_speed_bytes_per_second: self.speed.max_upload_speed.unwrap_or(0.0),
                ..ThrottlingLimits::default()
            },
            ..S3Options::default()
        };
        if let Some(role) = &self.role_arn {
            let nanos = i64::try_from(self.role_duration.as_nanos()).unwrap_or(i64::MAX);
            options.role_arn.clone_from(role);
            options.session_name.clone_from(&self.role_session_name);
            options.duration = duration_text(nanos);
            // Kopia has no service of its own to fall back on.
            let service = || S3Options::role_service(&self.region);
            options.role_endpoint = self.sts_endpoint.clone().unwrap_or_else(service);
            options.role_region.clone_from(&self.region);
        }
        if let Some(profile) = &self.aws_profile {
            if !self.access_key.is_empty()
                && variable("AWS_ACCESS_KEY_ID") != Some(self.access_key.clone())
            {
                bail!("give one of --access-key and --aws-profile, not both");
            }
            // Those of the environment are not what was asked for.
            options.access_key_id.clear();
            options.secret_access_key = Secret::default();
            options.session_token = Secret::default();
            options.unknown.insert(backends::PROFILE.to_owned(), profile.as_str().into());
        }
        let addressing = match (self.path_style, self.virtual_host) {
            (true, _) => Some(backends::PATH_STYLE),
            (_, true) => Some(backends::VIRTUAL_HOST),
            _ => None,
        };
        if let Some(addressing) = addressing {
            options.unknown.insert(backends::ADDRESSING.to_owned(), addressing.into());
        }
        Ok(options)
    }

    /// Host and port, and whether a variable says that it is plain HTTP.
    fn endpoint(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<(String, bool)> {
        if let Some(endpoint) = &self.endpoint {
            return Ok((endpoint.clone(), false));
        }
        let named = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
        let Some((name, url)) = named.iter().find_map(|name| Some((name, variable(name)?))) else {
            return Ok((AMAZON.to_owned(), false));
        };
        let parts = match url.split_once("://") {
            Some(("https", host)) => Some((host, false)),
            Some(("http", host)) => Some((host, true)),
            _ => None,
        };
        let parts = parts.map(|(host, is_plain)| (host.trim_end_matches('/'), is_plain));
        match parts {
            Some((host, is_plain)) if !host.is_empty() && !host.contains(['/', '?', '@']) => {
                Ok((host.to_owned(), is_plain))
            }
            _ => bail!(
                "{name} is {url:?}; it must be https:// or http:// with a host, or else give \
                 --endpoint"
            ),
        }
    }

    fn root_ca(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.root_ca_pem_base64, &self.root_ca_pem_path) {
            (Some(_), Some(_)) => {
                bail!("give one of --root-ca-pem-base64 and --root-ca-pem-path, not both")
            }
            (Some(text), None) => {
                base64::decode(text.as_bytes()).context("--root-ca-pem-base64 is not base64")
            }
            (None, Some(path)) => Ok(fs_err::read(path)?),
            (None, None) => match variable("AWS_CA_BUNDLE") {
                Some(path) => fs_err::read(path).context("AWS_CA_BUNDLE"),
                None => Ok(Vec::new()),
            },
        }
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        s3: S3Flags,
    }

    #[test]
    fn a_role_is_given_by_aws_where_nobody_else_is_named() {
        let service = |more: &[&str]| {
            let role = ["kopia-lite", "--bucket=bucket", "--role-arn=arn:aws:iam::1:role/r"];
            Flags::parse_from([&role, more].concat()).s3.options().unwrap().role_endpoint
        };
        assert_eq!(service(&[]), "https://sts.amazonaws.com");
        assert_eq!(service(&["--region=eu-west-1"]), "https://sts.eu-west-1.amazonaws.com");
        assert_eq!(service(&["--sts-endpoint=https://sts.example"]), "https://sts.example");
    }

    #[test]
    fn the_endpoint_is_the_flags_then_the_variables_then_amazons() {
        let found = |flags: &[&str], variables: &[(&str, &str)]| {
            let flags = Flags::parse_from([&["kopia-lite"], flags].concat()).s3;
            let value = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.into());
            flags.endpoint(value).map_err(|error| error.to_string())
        };
        let own = ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000/");
        let all = ("AWS_ENDPOINT_URL", "https://s3.example.net");
        let ok = |host: &str, is_plain| Ok((host.to_owned(), is_plain));
        assert_eq!(found(&[], &[]), ok("s3.amazonaws.com", false));
        assert_eq!(found(&[], &[all]), ok("s3.example.net", false));
        assert_eq!(found(&[], &[all, own]), ok("127.0.0.1:9000", true));
        assert_eq!(found(&["--endpoint=h:1"], &[own]), ok("h:1", false));
        for wrong in ["s3.example.net", "ftp://h", "https://", "https://h/path"] {
            let error = found(&[], &[("AWS_ENDPOINT_URL_S3", wrong)]).unwrap_err();
            assert!(error.contains("AWS_ENDPOINT_URL_S3 is"), "{error}");
        }
    }
}
