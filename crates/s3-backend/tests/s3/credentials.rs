//! Every source of credentials against an endpoint that hands them out, and renewals on the way.

use std::{collections::BTreeMap, time::Duration};

use blob_core::{BlobError, BlobStorage, ReadRange};
use s3_backend::{S3Builder, S3Options, S3Storage, Secret};
use s3_testkit::{Issuer, TestServer};

use crate::support::{id, options, put, server};

/// Long enough for any test.
const HOUR: Duration = Duration::from_secs(3_600);

/// A bucket, somebody who hands out keys for it, and an environment of its own.
struct Setting {
    server: TestServer,
    issuer: Issuer,
    environment: BTreeMap<String, String>,
    home: tempfile::TempDir,
}

impl Setting {
    async fn new(lifetime: Duration) -> Self {
        let server = server().await;
        let issuer = server.start_issuer(lifetime).unwrap();
        let home = tempfile::tempdir().unwrap();
        let mut environment = BTreeMap::new();
        environment.insert("HOME".into(), home.path().to_str().unwrap().into());
        environment.insert("AWS_EC2_METADATA_DISABLED".into(), "true".into());
        Self { server, issuer, environment, home }
    }

    /// In a container that has its token.
    async fn in_container(lifetime: Duration) -> Self {
        let mut setting = Self::new(lifetime).await;
        setting.write("token", Issuer::CONTAINER_TOKEN);
        setting.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", setting.path("token"));
        let address = format!("{}/container", setting.issuer.endpoint());
        setting.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", address);
        setting
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.into(), value.into());
    }

    /// A variable that says where keys are handed out.
    fn set_issuer(&mut self, name: &str) {
        let endpoint = self.issuer.endpoint().to_owned();
        self.set(name, endpoint);
    }

    /// A file below the home folder.
    fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// The connection, without keys.
    fn bare(&self) -> S3Options {
        S3Options {
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            ..options(&self.server)
        }
    }

    fn builder(&self, options: S3Options) -> S3Builder {
        let environment = self.environment.clone();
        S3Storage::builder(options).environment(move |name| environment.get(name).cloned())
    }

    fn storage(&self) -> S3Storage {
        self.builder(self.bare()).open().unwrap()
    }

    /// Writes and reads with what is found, and says whose key it was.
    async fn works(&self, storage: &S3Storage) -> String {
        put(storage, "p1", b"x").await;
        assert_eq!(storage.get(&id("p1"), ReadRange::Full).await.unwrap(), &b"x"[..]);
        let last = self.server.requests().all().pop().unwrap();
        let authorization = last.headers.get("authorization").unwrap().to_str().unwrap();
        let scope = authorization.split("Credential=").nth(1).unwrap();
        scope.split('/').next().unwrap().to_owned()
    }

    /// What is said when a request fails for want of credentials.
    async fn refusal(&self, storage: &S3Storage) -> String {
        match storage.get(&id("p1"), ReadRange::Full).await.unwrap_err() {
            BlobError::Credentials { reason } => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn keys_of(name: &str) -> String {
    format!("aws_access_key_id = {name}\naws_secret_access_key = test-secret-key\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gives_keys_for_its_token() {
    let mut setting = Setting::new(HOUR).await;
    let address = format!("{}/container", setting.issuer.endpoint());
    setting.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", address);
    let told = setting.refusal(&setting.storage()).await;
    assert!(told.contains("HTTP status 401") && told.contains("/container"), "{told}");

    setting.write("token", &format!("{}\n", Issuer::CONTAINER_TOKEN));
    setting.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", setting.path("token"));
    assert_eq!(setting.works(&setting.storage()).await, "ASIATESTKEY00000");
    assert_eq!(setting.issuer.issued("container"), 1, "the keys were asked for more than once");

    setting.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example/container");
    let told = setting.refusal(&setting.storage()).await;
    assert!(told.contains("neither HTTPS nor at this machine"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_gives_keys_in_version_2_of_its_service() {
    let mut setting = Setting::new(HOUR).await;
    setting.set("AWS_EC2_METADATA_DISABLED", "false");
    setting.set_issuer("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    assert_eq!(setting.works(&setting.storage()).await, "ASIATESTKEY00000");
    assert_eq!(setting.issuer.issued("instance"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_has_keys_every_place_is_named() {
    let mut setting = Setting::new(HOUR).await;
    let told = setting.refusal(&setting.storage()).await;
    for place in
        ["accessKeyID", "AWS_ACCESS_KEY_ID", "WEB_IDENTITY", "AWS_PROFILE", "CONTAINER", "METADATA"]
    {
        assert!(told.contains(place), "{place} is not in: {told}");
    }
    // Nobody listens there: it is no instance, and found out soon.
    setting.set("AWS_EC2_METADATA_DISABLED", "false");
    setting.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
    let begun = std::time::Instant::now();
    let told = setting.refusal(&setting.storage()).await;
    assert!(told.contains("the instance (http://127.0.0.1:9)"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(setting.server.requests().all().is_empty(), "a request was sent without keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_takes_its_role() {
    let mut setting = Setting::new(HOUR).await;
    setting.write("jwt", "wrong");
    setting.set("AWS_WEB_IDENTITY_TOKEN_FILE", setting.path("jwt"));
    setting.set_issuer("AWS_ENDPOINT_URL_STS");
    let told = setting.refusal(&setting.storage()).await;
    assert!(told.contains("AWS_ROLE_ARN is not"), "{told}");
    setting.set("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/backup");
    let told = setting.refusal(&setting.storage()).await;
    assert!(told.contains("role/backup") && told.contains("InvalidIdentityToken"), "{told}");
    setting.write("jwt", Issuer::WEB_IDENTITY_TOKEN);
    assert_eq!(setting.works(&setting.storage()).await, "ASIATESTKEY00000");
    assert_eq!(setting.issuer.issued("web-identity"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_have_keys_or_say_where_they_come_from() {
    let mut setting = Setting::new(HOUR).await;
    setting.set_issuer("AWS_ENDPOINT_URL_STS");
    let printed = r#"{"Version":1,"AccessKeyId":"test","SecretAccessKey":"test-secret-key"}"#;
    setting.write(
        ".aws/config",
        &format!(
            "[profile process]\ncredential_process = printf %s '{printed}'\n\
             [profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = keys\n\
             [profile chain]\nrole_arn = arn:aws:iam::1:role/s\nsource_profile = role\n\
             [profile self]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = self\n{}\
             [profile circle]\nrole_arn = a\nsource_profile = circle2\n\
             [profile circle2]\nrole_arn = b\nsource_profile = circle\n\
             [profile mfa]\nrole_arn = a\nsource_profile = keys\nmfa_serial = arn:mfa\n\
             [profile empty]\nregion = eu-west-1\n",
            keys_of("test")
        ),
    );
    setting.write(".aws/credentials", &format!("[default]\n{0}[keys]\n{0}", keys_of("test")));
    assert_eq!(setting.works(&setting.storage()).await, "test", "the default profile");
    for (profile, key) in [
        ("keys", "test"),
        ("process", "test"),
        ("role", "ASIATESTKEY00000"),
        ("chain", "ASIATESTKEY00002"),
        ("self", "ASIATESTKEY00003"),
    ] {
        setting.set("AWS_PROFILE", profile);
        assert_eq!(setting.works(&setting.storage()).await, key, "{profile}");
    }
    for (profile, reason) in [
        ("nobody", "have no profile nobody"),
        ("empty", "has no keys"),
        ("circle", "go in a circle (circle → circle2 → circle)"),
        ("mfa", "mfa_serial"),
    ] {
        setting.set("AWS_PROFILE", profile);
        let told = setting.refusal(&setting.storage()).await;
        assert!(told.contains(reason), "{profile}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_asked_for_by_name_wins_over_the_environment() {
    let mut setting = Setting::new(HOUR).await;
    setting.write(".aws/credentials", &format!("[mine]\n{}", keys_of("test")));
    setting.set("AWS_ACCESS_KEY_ID", "somebody");
    setting.set("AWS_SECRET_ACCESS_KEY", "else");
    let storage = setting.builder(setting.bare()).profile("mine").open().unwrap();
    assert_eq!(setting.works(&storage).await, "test");
    let storage = setting.builder(setting.bare()).profile("other").open().unwrap();
    assert!(setting.refusal(&storage).await.contains("no profile other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_named_with_its_line_and_without_its_text() {
    let setting = Setting::new(HOUR).await;
    setting.write(".aws/credentials", "[default]\naws_access_key_id = k\nhunter2\n");
    let told = setting.refusal(&setting.storage()).await;
    assert!(told.contains(".aws/credentials: line 3") && !told.contains("hunter2"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_center_gives_keys_for_the_token_of_a_login() {
    let mut setting = Setting::new(HOUR).await;
    setting.set_issuer("AWS_ENDPOINT_URL_SSO");
    setting.write(
        ".aws/config",
        "[profile new]\nsso_session = home\nsso_account_id = 1\nsso_role_name = r\n\
         [sso-session home]\nsso_region = eu-west-1\nsso_start_url = https://x/start\n\
         [profile old]\nsso_start_url = https://x/start\nsso_region = eu-west-1\n\
         sso_account_id = 1\nsso_role_name = r\n",
    );
    // sha1sum of "home" and of "https://x/start"
    let files = [
        ("new", ".aws/sso/cache/e83249bd3ba79932e16fb1fb5100dafade9954c2.json"),
        ("old", ".aws/sso/cache/f9bd89c67fef27fcb5df8d2e4b64eabe5bae45a4.json"),
    ];
    for (profile, _) in files {
        setting.set("AWS_PROFILE", profile);
        let told = setting.refusal(&setting.storage()).await;
        assert!(told.contains("run: aws sso login"), "{profile}: {told}");
    }
    for (profile, file) in files {
        setting.set("AWS_PROFILE", profile);
        let token = |until: &str| {
            format!(r#"{{"accessToken":"{}","expiresAt":"{until}"}}"#, Issuer::SSO_TOKEN)
        };
        setting.write(file, &token("2020-01-01T00:00:00Z"));
        let told = setting.refusal(&setting.storage()).await;
        assert!(told.contains("expired at 2020-01-01T00:00:00Z"), "{profile}: {told}");
        setting.write(file, &token("2199-01-01T00:00:00Z"));
        setting.works(&setting.storage()).await;
    }
    assert_eq!(setting.issuer.issued("sso"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_of_a_connection_is_taken_with_its_keys() {
    let setting = Setting::new(HOUR).await;
    let connection = S3Options {
        role_arn: "arn:aws:iam::111122223333:role/backup".into(),
        session_name: "kopia".into(),
        role_endpoint: setting.issuer.endpoint().into(),
        role_region: "eu-west-1".into(),
        ..options(&setting.server)
    };
    let storage = setting.builder(connection.clone()).open().unwrap();
    assert_eq!(setting.works(&storage).await, "ASIATESTKEY00000");
    assert_eq!(setting.issuer.issued("role"), 1);

    let stranger = S3Options { access_key_id: "nobody".into(), ..connection };
    let storage = setting.builder(stranger).open().unwrap();
    let told = setting.refusal(&storage).await;
    assert!(told.contains("role/backup") && told.contains("InvalidClientTokenId"), "{told}");
}

/// One upload that crosses two renewals, for each source that has to renew.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_three_seconds_are_renewed_while_an_upload_runs() {
    let setting = Setting::in_container(Duration::from_secs(3)).await;
    let storage = setting.storage();
    let begun = std::time::Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(6_500) {
        let four = (0..4).map(|n| {
            let (storage, name) = (storage.clone(), format!("p{}", count + n));
            async move { put(&storage, &name, b"x").await }
        });
        futures::future::join_all(four).await;
        count += 4;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(setting.server.objects().keys("p").len(), count);
    assert_eq!(setting.issuer.issued("container"), 3, "of three seconds each, renewed at 2.4 s");
    let refused = setting.server.requests().all().iter().filter(|r| r.status != Some(200)).count();
    assert_eq!(refused, 0, "keys were used beyond their time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_fails_is_bridged_by_keys_that_still_hold() {
    let setting = Setting::in_container(Duration::from_secs(3)).await;
    let storage = setting.storage();
    put(&storage, "p1", b"x").await;
    tokio::time::sleep(Duration::from_millis(2_450)).await;
    setting.issuer.refuse(1);
    put(&storage, "p2", b"x").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    put(&storage, "p3", b"x").await;
    assert_eq!(setting.issuer.issued("container"), 2);
}
