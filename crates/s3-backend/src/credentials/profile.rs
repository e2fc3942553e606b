//! Keys of a profile in AWS' shared files.
//!
//! A profile has keys, or says how to get some: by a role that another profile (or the environment,
//! the container, the instance) may take, by IAM Identity Center, by a program. What is said in
//! `~/.aws/credentials` wins over `~/.aws/config`. The order is that of AWS' own tools: role, web
//! identity, Identity Center, keys, program. Source: "Shared config and credentials files" and
//! "Assume role credential provider", AWS SDKs and Tools Reference Guide.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use blob_core::Clock;
use futures::future::BoxFuture;

use super::{
    Credentials, Environment, ProvideCredentials,
    container::Container,
    ini::{Ini, Section},
    instance::Instance,
    keys::EnvironmentKeys,
    lease::{Fetch, Lease},
    process,
    sso::Sso,
    sts::{self, Role},
    var,
    web::Web,
    web_identity,
};

const DEFAULT: &str = "default";

/// The shared files, and which of their profiles is meant.
pub(super) struct Profiles {
    pub environment: Environment,
    pub web: Web,
    pub clock: Arc<dyn Clock>,
    /// A name that was asked for; `None` = `AWS_PROFILE`, or else the default profile if there is
    /// one.
    pub name: Option<String>,
}

impl std::fmt::Debug for Profiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiles").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Both files, read.
struct Files {
    folder: PathBuf,
    config: Ini,
    credentials: Ini,
}

impl Files {
    /// One profile's values from both files; `None` = neither has it.
    fn profile(&self, name: &str) -> Option<Section> {
        let full = format!("profile {name}");
        let in_config = self.config.section(&full).or_else(|| {
            Some(name).filter(|name| *name == DEFAULT).and_then(|name| self.config.section(name))
        });
        let in_credentials = self.credentials.section(name);
        if in_config.is_none() && in_credentials.is_none() {
            return None;
        }
        let mut all = in_config.cloned().unwrap_or_default();
        all.extend(in_credentials.cloned().unwrap_or_default());
        all.retain(|_, value| !value.is_empty());
        Some(all)
    }
}

impl Profiles {
    /// The profile that is meant, and whether somebody named it.
    fn wanted(&self) -> (String, bool) {
        match self.name.clone().or_else(|| var(&self.environment, "AWS_PROFILE")) {
            Some(name) => (name, true),
            None => (DEFAULT.into(), false),
        }
    }

    async fn files(&self) -> Result<Option<Files>, String> {
        let home = ["HOME", "USERPROFILE"].iter().find_map(|name| var(&self.environment, name));
        let folder = home.as_ref().map(|home| Path::new(home).join(".aws"));
        let path = |variable: &str, name: &str| {
            let own = var(&self.environment, variable).map(|path| match path.strip_prefix("~/") {
                Some(rest) => {
                    home.as_ref().map_or(PathBuf::from(&path), |h| Path::new(h).join(rest))
                }
                None => PathBuf::from(path),
            });
            own.or_else(|| folder.as_ref().map(|folder| folder.join(name)))
        };
        let config = read(path("AWS_CONFIG_FILE", "config")).await?;
        let credentials = read(path("AWS_SHARED_CREDENTIALS_FILE", "credentials")).await?;
        if config.is_none() && credentials.is_none() {
            return Ok(None);
        }
        Ok(Some(Files {
            folder: folder.unwrap_or_default(),
            config: config.unwrap_or_default(),
            credentials: credentials.unwrap_or_default(),
        }))
    }

    /// The keys of one profile. `above` are the profiles that led here.
    fn resolve<'a>(
        &'a self,
        files: &'a Files,
        name: &'a str,
        above: Vec<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Lease>, String>> {
        Box::pin(async move {
            let Some(profile) = files.profile(name) else {
                return Err(format!("the shared AWS files have no profile {name}"));
            };
            let about = |reason: String| format!("profile {name}: {reason}");
            let region = profile.get("region").map(String::as_str);
            // A profile that takes a role by its own keys names itself.
            let is_own_source = above.last() == Some(&name);
            if let Some(role) = role(&profile).map_err(about)?.filter(|_| !is_own_source) {
                let endpoint = web_identity::endpoint(&self.environment, region);
                if let Some(file) = profile.get("web_identity_token_file") {
                    let lease = web_identity::assume(&self.web, &endpoint, &role, file).await;
                    return Ok(Some(lease.map_err(about)?));
                }
                let keys = self.keys_for_role(files, name, above, &profile).await?;
                let lease = sts::assume(&self.web, &endpoint, &role, &keys).await;
                return Ok(Some(lease.map_err(about)?));
            }
            if let Some(sso) = sso(files, &profile).map_err(about)? {
                let now = self.clock.now();
                let lease = sso.fetch(&self.web, &self.environment, &files.folder, now).await;
                return Ok(Some(lease.map_err(about)?));
            }
            if let Some(credentials) = own_keys(&profile).map_err(about)? {
                return Ok(Some(Lease { credentials, until: None }));
            }
            match profile.get("credential_process") {
                Some(command) => Ok(Some(process::run(command).await.map_err(about)?)),
                None => Ok(None),
            }
        })
    }

    /// The keys that a profile takes its role with.
    async fn keys_for_role<'a>(
        &'a self,
        files: &'a Files,
        name: &'a str,
        mut above: Vec<&'a str>,
        profile: &'a Section,
    ) -> Result<Credentials, String> {
        let about = |reason: String| format!("profile {name}: {reason}");
        if let Some(source) = profile.get("source_profile") {
            if above.contains(&name) {
                let way = above.join(" → ");
                return Err(about(format!("its source profiles go in a circle ({way} → {name})")));
            }
            above.push(name);
            let lease = self.resolve(files, source, above).await?;
            let none = || about(format!("its source profile {source} has no keys"));
            return Ok(lease.ok_or_else(none)?.credentials);
        }
        let (environment, web) = (self.environment.clone(), self.web.clone());
        let (kind, found) = match profile.get("credential_source").map(String::as_str) {
            Some(kind @ "Environment") => (kind, EnvironmentKeys(environment).credentials().await?),
            Some(kind @ "EcsContainer") => {
                (kind, Container { environment, web }.fetch().await?.map(|l| l.credentials))
            }
            Some(kind @ "Ec2InstanceMetadata") => {
                (kind, Instance { environment, web }.fetch().await?.map(|l| l.credentials))
            }
            Some(kind) => return Err(about(format!("credential_source {kind} is not known"))),
            None => {
                return Err(about(
                    "role_arn needs source_profile, credential_source or web_identity_token_file"
                        .into(),
                ));
            }
        };
        found.ok_or_else(|| about(format!("its credential_source {kind} has no keys")))
    }
}

async fn read(path: Option<PathBuf>) -> Result<Option<Ini>, String> {
    let Some(path) = path else { return Ok(None) };
    let text = match tokio::fs::read(&path).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let ini = Ini::parse(&text);
    // The line itself may hold a secret.
    ini.map(Some).map_err(|line| format!("{}: line {line} makes no sense", path.display()))
}

fn role(profile: &Section) -> Result<Option<Role>, String> {
    let Some(arn) = profile.get("role_arn").cloned() else { return Ok(None) };
    if let Some(device) = profile.get("mfa_serial") {
        return Err(format!(
            "its role asks for a code of {device} (mfa_serial), which a backup has nobody to ask \
             for; use a role without, or keys of `aws sts assume-role` in the environment"
        ));
    }
    let duration = match profile.get("duration_seconds") {
        Some(text) => {
            let secs = text.parse().map_err(|_| format!("duration_seconds {text} is no number"))?;
            Some(Duration::from_secs(secs))
        }
        None => None,
    };
    let session_name = profile.get("role_session_name").cloned().unwrap_or_default();
    Ok(Some(Role { arn, session_name, duration, external_id: profile.get("external_id").cloned() }))
}

fn own_keys(profile: &Section) -> Result<Option<Credentials>, String> {
    match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(Some(Credentials {
            access_key_id: id.clone(),
            secret_access_key: secret.as_str().into(),
            session_token: profile.get("aws_session_token").map(|text| text.as_str().into()),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err("it has aws_access_key_id without aws_secret_access_key".into()),
        (None, Some(_)) => Err("it has aws_secret_access_key without aws_access_key_id".into()),
    }
}

fn sso(files: &Files, profile: &Section) -> Result<Option<Sso>, String> {
    let (Some(account), Some(role)) = (profile.get("sso_account_id"), profile.get("sso_role_name"))
    else {
        return Ok(None);
    };
    let (session, cached_as);
    let of_session = match profile.get("sso_session") {
        Some(name) => {
            let section = files.config.section(&format!("sso-session {name}"));
            session = section.ok_or_else(|| format!("there is no [sso-session {name}]"))?;
            cached_as = Some(name.clone());
            session
        }
        None => {
            cached_as = profile.get("sso_start_url").cloned();
            profile
        }
    };
    let region = of_session.get("sso_region").cloned().ok_or("sso_region is missing")?;
    let cached_as = cached_as.ok_or("sso_session or sso_start_url is missing")?;
    Ok(Some(Sso { cached_as, region, account: account.clone(), role: role.clone() }))
}

#[async_trait]
impl Fetch for Profiles {
    fn source(&self) -> String {
        format!("the profile {:?} of the shared AWS files (AWS_PROFILE)", self.wanted().0)
    }

    async fn fetch(&self) -> Result<Option<Lease>, String> {
        let (name, named) = self.wanted();
        let Some(files) = self.files().await? else {
            let missing = || format!("profile {name}: there are no shared AWS files (~/.aws)");
            return if named { Err(missing()) } else { Ok(None) };
        };
        if !named && files.profile(&name).is_none() {
            return Ok(None);
        }
        match self.resolve(&files, &name, Vec::new()).await? {
            None if named => Err(format!("profile {name} has no keys and no way to get some")),
            found => Ok(found),
        }
    }
}
