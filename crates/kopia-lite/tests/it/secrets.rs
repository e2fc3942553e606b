//! Secrets and plaintext: what is said and logged, what is kept on this machine, what lies in the
//! bucket.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::prelude::{BASE64_STANDARD, Engine};
use s3_testkit::Credentials;

use crate::cold_walk;
use crate::env::{Run, S3Env, TestEnv, files};

const PASSWORD: &str = "marked-PASSWORD-7c1f";
const SECRET_KEY: &str = "marked-SECRET-KEY-5e0d";
const TOKEN: &str = "marked-TOKEN-a94b";
/// What only the source knows: in a file, in a file's name, in a link.
const PLAIN: [&str; 3] =
    ["marked-bytes-of-a-file", "marked-name-of-a-file", "marked-text-of-a-link"];

/// The secrets as they are and as they are often written.
fn forms() -> Vec<Vec<u8>> {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let forms = |text: &str| {
        [text.to_owned(), BASE64_STANDARD.encode(text), hex(text), hex(text).to_uppercase()]
    };
    [PASSWORD, SECRET_KEY, TOKEN].iter().flat_map(|text| forms(text)).map(Into::into).collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Which of the secrets `bytes` hold.
fn leaked(bytes: &[u8]) -> Option<String> {
    let found = forms().into_iter().find(|form| contains(bytes, form));
    found.map(|form| String::from_utf8(form).unwrap())
}

fn assert_silent(line: &str, run: &Run) {
    let said = format!("{}{}", run.stdout, run.stderr);
    assert_eq!(leaked(said.as_bytes()), None, "{line}: {said}");
}

/// A bucket behind marked keys, and a home that knows them.
fn marked() -> (TestEnv, s3_testkit::TestServer, String) {
    let S3Env { env, server, .. } = S3Env::new();
    server.set_credentials(vec![Credentials::new("id", SECRET_KEY).with_session_token(TOKEN)]);
    let (bucket, addr) = (server.bucket(), server.addr());
    let place = format!("--bucket={bucket} --prefix=r/ --endpoint={addr} --disable-tls");
    let keys = format!("--access-key=id --secret-access-key={SECRET_KEY} --session-token={TOKEN}");
    let env = env.with("KOPIA_PASSWORD", PASSWORD);
    env.write(&format!("src/{}", PLAIN[1]), PLAIN[0].repeat(50));
    std::os::unix::fs::symlink(PLAIN[2], env.path("src/link")).unwrap();
    (env, server, format!("{place} {keys}"))
}

#[test]
fn no_command_tells_a_secret_however_much_it_is_asked_to_say() {
    let (env, server, flags) = marked();
    let logs = env.text("logs");
    let with = |line: &str| {
        let line = format!("{line} --log-level=debug --log-dir={logs}");
        let run = env.line(&line);
        assert_silent(&line, &run);
        assert!(!run.stderr.contains("panicked"), "{run:#?}");
        run
    };
    assert_eq!(with(&format!("repository create s3 {flags}")).code, 0);
    assert_eq!(with(&format!("repository connect s3 {flags}")).code, 0);
    assert_eq!(with("snapshot create src").code, 0);
    let id = env.newest();
    let (root, blob, manifest) = (
        env.json("snapshot list --json")[0]["rootEntry"]["obj"].as_str().unwrap().to_owned(),
        env.json("blob list --prefix=q --json")[0]["id"].as_str().unwrap().to_owned(),
        env.json("manifest list --json")[0]["id"].as_str().unwrap().to_owned(),
    );
    let lines = [
        format!("repository create s3 {flags}"),
        format!("repository connect s3 {flags}"),
        format!("repository connect s3 {flags} --prefix=elsewhere/"),
        "repository status".into(),
        "repository status --json".into(),
        "repository status -t".into(),
        "repository set-client --description=words".into(),
        "repository set-parameters --max-pack-size-mb=30".into(),
        format!("repository sync-to filesystem --path={}", env.text("nowhere")),
        "repository sync-to from-config --token=none".into(),
        format!("repository sync-to s3 {flags}"),
        "repository throttle set --concurrent-reads=9".into(),
        "repository throttle get".into(),
        format!("repository change-password --new-password={PASSWORD}"),
        format!("repository connect from-config --file={}", env.config_file().display()),
        "repository create from-config --token=none".into(),
        format!("repository repair s3 {flags} --dangerous-commands=enabled"),
        "repository repair filesystem --path=. --dangerous-commands=enabled".into(),
        "snapshot create src --json".into(),
        "snapshot create nowhere".into(),
        "snapshot list --storage-stats".into(),
        "snapshot verify --verify-files-percent=100".into(),
        format!("snapshot restore {id} out1"),
        format!("snapshot pin {id} --add=x"),
        format!("snapshot delete {id}"),
        "snapshot copy-history @h @h2".into(),
        "snapshot estimate src --show-files".into(),
        "snapshot fix invalid-files --verify-files-percent=100".into(),
        "snapshot fix remove-files --filename=x".into(),
        "snapshot move-history @h2 @h3".into(),
        "snapshot expire --all".into(),
        format!("restore {id} out2"),
        format!("list -l {root}"),
        format!("show {root}"),
        format!("diff {id} --metadata"),
        "find -l *".into(),
        "policy show --global".into(),
        "policy list".into(),
        "policy set --global --keep-latest=5".into(),
        "policy edit --global".into(),
        "policy export --to-file=policies.json".into(),
        "policy import --from-file=policies.json".into(),
        "policy delete src".into(),
        "storage-config show".into(),
        "storage-config check".into(),
        "storage-config set --add p=GLACIER_IR".into(),
        "storage-config explain".into(),
        "storage-config apply --yes".into(),
        "storage-config lifecycle show".into(),
        "storage-config lifecycle diff --to=GLACIER".into(),
        "storage-config lifecycle install --to=GLACIER --yes".into(),
        "storage-class plan".into(),
        "storage-class apply --dry-run".into(),
        "storage-class lifecycle show".into(),
        "storage-class lifecycle diff --to=GLACIER".into(),
        "storage-class lifecycle install --to=GLACIER --dry-run".into(),
        "storage-class list".into(),
        "storage-class show GLACIER".into(),
        format!("thaw plan {id} --json"),
        format!("thaw start {id} --yes"),
        "thaw status".into(),
        "thaw wait --timeout=1s".into(),
        "thaw list --json".into(),
        "completion zsh".into(),
        "man".into(),
        "repository list".into(),
        "repository check".into(),
        "repository permissions".into(),
        "repository validate-provider --concurrency-test-duration=1s".into(),
        "blob list".into(),
        format!("blob show {blob} --decrypt"),
        "blob stats".into(),
        format!("content show {root}"),
        "content list -l".into(),
        "blob delete xw1 --dangerous-commands=enabled".into(),
        format!("manifest delete {manifest}"),
        "content stats".into(),
        "content verify --full".into(),
        "index list".into(),
        "index inspect --all".into(),
        "index epoch list".into(),
        "index recover --commit --dangerous-commands=enabled".into(),
        "manifest list".into(),
        format!("manifest show {manifest}"),
        "maintenance info".into(),
        "maintenance plan --full".into(),
        "maintenance run --full --force".into(),
        "maintenance set --owner=me".into(),
        "logs list".into(),
        "logs show".into(),
        "logs cleanup --max-count=1".into(),
        "cache info".into(),
        "cache clear".into(),
        "cache set --content-cache-size-mb=100".into(),
        format!("repository create filesystem --path={}", env.text("repo")),
        format!("repository connect filesystem --path={}", env.text("repo")),
        format!("repository connect s3 {flags}"),
    ];
    for line in &lines {
        with(line);
    }
    let known = cold_walk::commands();
    assert!(known.len() > 25, "{known:?}");
    for leaf in known.iter().filter(|leaf| *leaf != "repository disconnect") {
        assert!(lines.iter().any(|line| line.starts_with(leaf)), "{leaf} is not in the table");
    }
    // What goes wrong has more to say.
    server.set_credentials(vec![Credentials::new("other", "key")]);
    assert_eq!(with("snapshot list").code, 13);
    assert_eq!(with(&format!("repository connect s3 {flags}")).code, 13);
    server.set_credentials(vec![Credentials::new("id", SECRET_KEY).with_session_token(TOKEN)]);
    let wrong = env.line(&format!("snapshot list -p {PASSWORD}x"));
    assert_eq!(wrong.code, 12);
    assert_silent("a wrong password", &wrong);
    with("repository disconnect");
    let logs = files(&env.path("logs/cli-logs"));
    // These two leave none.
    for leaf in known.iter().filter(|leaf| !["completion", "man"].contains(&leaf.as_str())) {
        let end = format!("-{}.0.log", leaf.replace(' ', "-"));
        assert!(logs.iter().any(|(path, _)| path.to_string_lossy().ends_with(&end)), "no {end}");
    }
    assert_eq!(first_leak(&logs), None);
    // The search does find what is there.
    let planted = logs.into_iter().chain([("planted".into(), PASSWORD.into())]).collect::<Vec<_>>();
    assert_eq!(first_leak(&planted), Some(("planted".into(), PASSWORD.to_owned())));
}

/// Which file holds which of the secrets.
fn first_leak(files: &[(PathBuf, Vec<u8>)]) -> Option<(PathBuf, String)> {
    files.iter().find_map(|(path, bytes)| Some((path.clone(), leaked(bytes)?)))
}

/// All files below `folder` but those whose name ends so.
fn others<'a>(folder: &Path, ends: &'a [&'a str]) -> Vec<(PathBuf, Vec<u8>)> {
    let all = files(folder).into_iter();
    all.filter(|(path, _)| !ends.iter().any(|end| path.to_string_lossy().ends_with(end))).collect()
}

#[test]
fn what_is_kept_on_this_machine_is_for_its_user_alone() {
    let (env, _server, flags) = marked();
    env.ok(&format!("repository create s3 {flags}"));
    env.ok("snapshot create src");
    env.ok("snapshot verify --verify-files-percent=100");
    // The connection file has Kopia's form, the stored password too: both hold secrets.
    let connection = env.config_file();
    let stored = connection.with_file_name("repository.config.kopia-password");
    for path in [&connection, &stored] {
        assert!(leaked(&fs_err::read(path).unwrap()).is_some(), "{}", path.display());
        let mode = fs_err::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    let elsewhere = others(&env.path("config"), &["repository.config", ".kopia-password"]);
    let cached = files(&env.path("cache"));
    assert!(!cached.is_empty());
    for (path, bytes) in elsewhere.iter().chain(&cached) {
        assert_eq!(leaked(bytes), None, "{}", path.display());
        for plain in PLAIN {
            assert!(!contains(bytes, plain.as_bytes()), "{plain} is in {}", path.display());
        }
    }
}

#[test]
fn nothing_of_the_source_lies_in_the_bucket_as_it_is() {
    for config in [None, Some(r#"{"blobOptions":[{"serverSideEncryption":"AES256"}]}"#)] {
        let (env, server, flags) = marked();
        if let Some(config) = config {
            server.objects().put("r/.storageconfig", config.to_owned());
        }
        env.ok(&format!("repository create s3 {flags} --description=x"));
        env.ok("policy set --global --compression=none --metadata-compression=none");
        env.ok("snapshot create src");
        let keys = server.objects().keys("r/");
        assert!(keys.len() > 5, "{keys:?}");
        for key in keys {
            let bytes = server.objects().get(&key).unwrap().bytes;
            assert_eq!(leaked(&bytes), None, "{key}");
            for plain in PLAIN {
                assert!(!contains(&bytes, plain.as_bytes()), "{plain} is in {key}");
            }
        }
        // The search does find what is there.
        let id = env.newest();
        env.ok(&format!("restore {id} out"));
        assert!(files(&env.path("out")).iter().any(|(_, b)| contains(b, PLAIN[0].as_bytes())));
    }
}
