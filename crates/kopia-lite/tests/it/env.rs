//! A home for one test, and the program in it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use s3_backend::{S3Options, S3Storage};
use s3_testkit::{TestServer, TestServerOptions, TlsIdentity};
use serde_json::Value;

/// The password of every repository made here.
pub const PASSWORD: &str = "fixture";
/// The other way to make a key of the password: it takes half the time, and no 64 MiB. Most tests
/// are not about that; what is created without it here is.
const QUICK: &str = "--format-block-key-derivation-algorithm=pbkdf2-sha256-600000";

/// A home, a current folder, and no settings of whoever runs the tests.
pub struct TestEnv {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl TestEnv {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// Another home with the same current folder's files out of reach.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// A path below the current folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The connection file.
    pub fn config_file(&self) -> PathBuf {
        self.path("config/kopia/repository.config")
    }

    /// The folders of caches; log files lie beside them.
    pub fn caches(&self) -> Vec<PathBuf> {
        let all = fs_err::read_dir(self.path("cache/kopia")).unwrap();
        let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
        all.retain(|path| !path.ends_with("cli-logs"));
        all
    }

    /// The connection file, read.
    pub fn config(&self) -> Value {
        serde_json::from_slice(&fs_err::read(self.config_file()).unwrap()).unwrap()
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, bytes).unwrap();
        path
    }

    /// The program, ready to run.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kopia-lite"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("KOPIA_PASSWORD", PASSWORD)
            .env("AWS_EC2_METADATA_DISABLED", "true") // nobody waits for it off EC2
            .env("TZ", "UTC")
            .env("EDITOR", "true") // changes nothing
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        Run::of(&mut self.command(args))
    }

    /// Runs a command line of words without blanks.
    pub fn line(&self, line: &str) -> Run {
        self.run(line.split_whitespace())
    }

    /// The same, which must end with 0; gives stdout.
    pub fn ok(&self, line: &str) -> String {
        let run = self.line(line);
        assert_eq!(run.code, 0, "{line}\n{run:#?}");
        run.stdout
    }

    /// The same; gives stderr, and stdout must be empty.
    pub fn says(&self, line: &str) -> String {
        let run = self.line(line);
        assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{line}\n{run:#?}");
        run.stderr
    }

    /// A command line that must end with `code`; gives stderr.
    pub fn fails(&self, code: i32, line: &str) -> String {
        let run = self.line(line);
        assert_eq!(run.code, code, "{line}\n{run:#?}");
        run.stderr
    }

    /// A command line that must end with 0 and print JSON.
    pub fn json(&self, line: &str) -> Value {
        let text = self.ok(line);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text:?}"))
    }

    /// A command line that must end with `code` and an error object on stderr.
    pub fn json_error(&self, code: i32, line: &str) -> Value {
        let text = self.fails(code, line);
        let last = text.lines().last().unwrap_or_default();
        let value: Value =
            serde_json::from_str(last).unwrap_or_else(|e| panic!("{line}: {e}: {text:?}"));
        assert_eq!(value["error"]["code"], code, "{value}");
        value["error"].clone()
    }

    /// A new repository in the folder `repo`, connected, as `u@h`.
    pub fn with_repository() -> Self {
        let env = Self::new();
        let path = env.text("repo");
        env.ok(&format!(
            "repository create filesystem --path={path} {QUICK} --override-hostname=h \
             --override-username=u"
        ));
        env
    }

    /// A new repository in the folder `repo`, connected, whose packs have so many bytes and whose
    /// pieces are as long as Kopia makes them.
    pub fn with_packs_of(bytes: u32) -> Self {
        let env = Self::new();
        let path = env.text("repo");
        env.ok(&format!(
            "repository create filesystem --path={path} {QUICK} --object-splitter=DYNAMIC-8M-BUZHASH"
        ));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let options = fs_backend::FilesystemOptions::at(env.path("repo"));
            let storage = fs_backend::FilesystemStorage::open(options).await.unwrap();
            let (storage, password) = (std::sync::Arc::new(storage), PASSWORD.to_owned().into());
            let options = kopia_repo::OpenOptions::default();
            let repo = kopia_repo::Repository::open(storage, &password, options).await.unwrap();
            repo.set_parameters(|format, _| format.max_pack_size = bytes).await.unwrap();
        });
        // A new connection reads the format.
        env.ok(&format!("repository connect filesystem --path={path}"));
        env
    }

    /// A small tree in `src`: two files, a folder and a link.
    pub fn plant(&self) -> String {
        self.write("src/a.txt", "hello\n");
        self.write("src/sub/b.bin", noise(1, 300_000));
        std::os::unix::fs::symlink("a.txt", self.path("src/link")).unwrap();
        self.text("src")
    }

    /// The ID of the newest snapshot of all.
    pub fn newest(&self) -> String {
        let all = self.json("snapshot list --all --json");
        let newest = all.as_array().unwrap().iter().max_by_key(|it| it["startTime"].to_string());
        newest.unwrap()["id"].as_str().unwrap().to_owned()
    }
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A home and an S3 server.
pub struct S3Env {
    pub env: TestEnv,
    pub server: TestServer,
    /// How the server is spoken to.
    scheme: &'static str,
}

impl std::ops::Deref for S3Env {
    type Target = TestEnv;
    fn deref(&self) -> &TestEnv {
        &self.env
    }
}

impl S3Env {
    pub fn new() -> Self {
        Self::with_server(TestServerOptions::default())
    }

    /// A bucket that was made with object lock, and so keeps versions.
    pub fn lockable() -> Self {
        Self::with_server(TestServerOptions { object_lock: true, ..TestServerOptions::default() })
    }

    /// A server that speaks TLS, as S3 does outside of tests.
    pub fn over_tls() -> Self {
        let tls = Some(TlsIdentity::for_tests());
        let mut s3 = Self::with_server(TestServerOptions { tls, ..TestServerOptions::default() });
        s3.scheme = "--disable-tls-verification";
        s3
    }

    fn with_server(options: TestServerOptions) -> Self {
        let server = TestServer::start_blocking(options).unwrap();
        Self { env: TestEnv::new(), server, scheme: "--disable-tls" }
    }

    /// The flags that name the repository, without its keys.
    pub fn place(&self) -> String {
        let (bucket, addr) = (self.server.bucket(), self.server.addr());
        format!("--bucket={bucket} --prefix=r/ --endpoint={addr} {}", self.scheme)
    }

    /// The flags that name the repository.
    pub fn flags(&self) -> String {
        let place = self.place();
        format!("{place} --access-key=test --secret-access-key=test-secret-key")
    }

    /// Creates the repository and connects to it as `u@h`.
    pub fn create(&self, more: &str) -> String {
        let flags = self.flags();
        let own = "--override-hostname=h --override-username=u";
        self.ok(&format!("repository create s3 {flags} {QUICK} {own} {more}"))
    }

    /// The bucket below a prefix, for what is done by other means.
    pub fn storage(&self, prefix: &str) -> S3Storage {
        let options = S3Options {
            bucket: self.server.bucket().into(),
            prefix: prefix.into(),
            endpoint: self.server.addr().to_string(),
            access_key_id: "test".into(),
            secret_access_key: "test-secret-key".into(),
            do_not_use_tls: true,
            ..S3Options::default()
        };
        S3Storage::builder(options).environment(|_| None).open().unwrap()
    }

    /// Uploads a `.storageconfig` by other means.
    pub fn put_config(&self, text: &str) {
        self.server.objects().put("r/.storageconfig", text.to_owned());
    }

    /// The kinds of blobs and the classes that they lie in.
    pub fn classes(&self) -> Vec<(String, String)> {
        let objects = self.server.objects();
        let mut all: Vec<_> = objects
            .keys("r/")
            .iter()
            .map(|key| {
                let kind = blob_core::layers::kind(&key["r/".len()..]).to_owned();
                (kind, objects.get(key).unwrap().storage_class)
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blob_core::Entropy::fill(&blob_core::SeededEntropy::new(seed), &mut bytes);
    bytes
}

/// The names of an object's fields, in their order.
pub fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// `text` with IDs and times replaced by words, so that it can be compared.
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(length) = time_at(rest) {
            out.push_str("TIME");
            rest = &rest[length..];
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let word = &rest[..end];
        let digits =
            word.trim_start_matches(|c: char| c.is_ascii_lowercase() && c > 'f' || c == 'I');
        if digits.len() >= 31 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            out.push_str("ID");
            rest = &rest[end..];
        } else if end > 0 {
            out.push_str(word);
            rest = &rest[end..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The length of the time that `text` begins with: `2006-01-02 15:04:05.000 UTC`,
/// `2006-01-02T15:04:05Z`.
fn time_at(text: &str) -> Option<usize> {
    let form = b"0000-00-00?00:00:00";
    let bytes = text.as_bytes().get(..form.len())?;
    let fits = bytes.iter().zip(form).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'?' => matches!(byte, b' ' | b'T'),
        other => byte == other,
    });
    let after = &text[fits.then_some(form.len())?..];
    let fraction = match after.strip_prefix('.') {
        Some(digits) => 1 + digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()),
        None => 0,
    };
    let zone = &after[fraction..];
    let zone = if zone.starts_with('Z') {
        1
    } else if zone.starts_with(" UTC") {
        4
    } else {
        0
    };
    Some(form.len() + fraction + zone)
}

/// All files below `folder` with their bytes, by relative path.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs_err::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_symlink() {
                let target = fs_err::read_link(&path).unwrap();
                found.push((name, target.into_os_string().into_encoded_bytes()));
            } else {
                found.push((name, fs_err::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
