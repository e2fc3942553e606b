//! Every command while every pack is in an archive: those that need no file data work, and no
//! command reads a pack.
//!
//! The commands are those of the definition: a new one that is not said here what it needs fails the
//! test.

use std::{path::PathBuf, sync::Arc};

use kopia_format::{local_config::StorageConnection, token::RepositoryToken};

use crate::{
    env::{S3Env, files, noise},
    logs,
};

/// What a command needs.
pub enum Call {
    /// No file data: it works, with this exit code. The line may name `$ID`, `$SRC`, `$ROOT` and the
    /// like.
    Free(&'static str),
    /// File data: it is refused with the code for archived blobs, before it reads a pack.
    Data(&'static str),
}

use Call::{Data, Free};

/// The storage of the connection in one word, with another prefix.
fn token(s3: &S3Env, prefix: &str) -> String {
    let mut storage = s3.config()["storage"].clone();
    storage["config"]["prefix"] = prefix.into();
    let storage = StorageConnection::from_value(storage).unwrap();
    RepositoryToken { storage, password: None }.encode().to_string()
}

/// A call of the command at this place in the tree.
pub fn call(command: &str) -> Option<Call> {
    Some(match command {
        "repository create s3" => Free("repository create s3 $FLAGS2"),
        "repository create filesystem" => Free("repository create filesystem --path=$NEW"),
        "repository connect s3" => Free("repository connect s3 $FLAGS $OWN"),
        "repository connect filesystem" => Free("repository connect filesystem --path=$NEW $OWN"),
        "repository create from-config" => Free("repository create from-config --token=$TOKEN2"),
        "repository connect from-config" => Free("repository connect from-config --token=$TOKEN"),
        "repository set-client" => Free("repository set-client --description=words"),
        "repository set-parameters" => Free("repository set-parameters --max-pack-size-mb=30"),
        "repository change-password" => Free("repository change-password --new-password=new"),
        "repository sync-to s3" => Data("repository sync-to s3 $FLAGS2"),
        "repository sync-to filesystem" => Data("repository sync-to filesystem --path=$FOLDER"),
        "repository sync-to from-config" => Data("repository sync-to from-config --token=$TOKEN2"),
        "repository throttle get" => Free("repository throttle get"),
        "repository throttle set" => Free("repository throttle set --concurrent-reads=9"),
        "repository repair s3" => Free("repository repair s3 $FLAGS --dangerous-commands=enabled"),
        "repository repair filesystem" => Free(
            "repository repair filesystem --path=$NEW --recover-format=no --dangerous-commands=enabled",
        ),
        "repository disconnect" => Free("repository disconnect"),
        "repository status" => Free("repository status"),
        "snapshot create" => Free("snapshot create $SRC"),
        "snapshot list" => Free("snapshot list --all --storage-stats"),
        "snapshot restore" => Data("snapshot restore $ID $OUT"),
        "snapshot delete" => Free("snapshot delete $OLD --delete"),
        "snapshot expire" => Free("snapshot expire --all --delete"),
        "snapshot verify" => Free("snapshot verify"),
        "snapshot pin" => Free("snapshot pin $ID --add=keep"),
        "snapshot fix invalid-files" => Free("snapshot fix invalid-files --commit"),
        "snapshot fix remove-files" => Free("snapshot fix remove-files --filename=a.txt --commit"),
        "snapshot estimate" => Free("snapshot estimate $SRC"),
        "snapshot copy-history" => Free("snapshot copy-history u@h u@h2"),
        "snapshot move-history" => Free("snapshot move-history u@h u@h2"),
        "restore" => Data("restore $ID $OUT"),
        "list" => Free("list -lr $ID"),
        "show" => Data("show $ID/a.txt"),
        "diff" => Free("diff $OLD $ID"),
        "find" => Free("find -l *.bin"),
        "policy show" => Free("policy show --global"),
        "policy list" => Free("policy list"),
        "policy set" => Free("policy set --global --keep-daily=14"),
        "policy edit" => Free("policy edit --global"),
        "policy export" => Free("policy export"),
        "policy import" => Free("policy import --from-file=policies.json"),
        "policy delete" => Free("policy delete $SRC"),
        "storage-config show" => Free("storage-config show"),
        "storage-config check" => Free("storage-config check"),
        "storage-config set" => Free("storage-config set --add p=DEEP_ARCHIVE"),
        "storage-config explain" => Free("storage-config explain"),
        "storage-config apply" => Free("storage-config apply --yes"),
        "storage-class plan" => Free("storage-class plan"),
        "storage-class apply" => Free("storage-class apply --yes"),
        "storage-class lifecycle show" => Free("storage-class lifecycle show"),
        "storage-class lifecycle diff" => Free("storage-class lifecycle diff --to=GLACIER"),
        "storage-class lifecycle install" => {
            Free("storage-class lifecycle install --to=GLACIER --yes")
        }
        "storage-config lifecycle show" => Free("storage-config lifecycle show"),
        "storage-config lifecycle diff" => Free("storage-config lifecycle diff --to=DEEP_ARCHIVE"),
        "storage-config lifecycle install" => {
            Free("storage-config lifecycle install --to=DEEP_ARCHIVE --yes")
        }
        "storage-class list" => Free("storage-class list"),
        "storage-class show" => Free("storage-class show DEEP_ARCHIVE"),
        "thaw plan" => Free("thaw plan $ID"),
        "thaw start" => Free("thaw start $ID --dry-run"),
        "thaw status" => Free("thaw status"),
        "thaw wait" => Free("thaw list"),
        "thaw list" => Free("thaw list"),
        "repository check" => Free("repository check"),
        "repository permissions" => Free("repository permissions"),
        "repository validate-provider" => {
            Free("repository validate-provider --concurrency-test-duration=1s")
        }
        "man" => Free("man"),
        "repository list" => Free("repository list"),
        "completion" => Free("completion bash"),
        "blob list" => Free("blob list"),
        "blob show" => Data("blob show $PACK"),
        "blob stats" => Free("blob stats"),
        "blob delete" => Free("blob delete xw1 --dangerous-commands=enabled"),
        "content show" => Data("content show $CONTENT"),
        "content list" => Free("content list -l"),
        "content stats" => Free("content stats"),
        "content verify" => Free("content verify"),
        "index list" => Free("index list"),
        "index inspect" => Free("index inspect --all"),
        "index epoch list" => Free("index epoch list"),
        "index recover" => Free("index recover --commit --dangerous-commands=enabled"),
        "manifest list" => Free("manifest list"),
        "manifest show" => Free("manifest show $ID"),
        "manifest delete" => Free("manifest delete $OLD --dangerous-commands=enabled"),
        "maintenance info" => Free("maintenance info"),
        "maintenance set" => Free("maintenance set --owner=me"),
        "maintenance plan" => Free("maintenance plan --full"),
        "maintenance run" => Free("maintenance run --full --safety=none"),
        "logs list" => Free("logs list"),
        "logs show" => Free("logs show"),
        "logs cleanup" => Free("logs cleanup --max-count=1"),
        "cache info" => Free("cache info"),
        "cache clear" => Free("cache clear"),
        "cache set" => Free("cache set --content-cache-size-mb=100"),
        _ => return None,
    })
}

/// Every command that does something, by its words.
pub fn commands() -> Vec<String> {
    fn walk(command: &clap::Command, words: &str, all: &mut Vec<String>) {
        let below: Vec<_> =
            command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
        if below.is_empty() {
            all.push(words.trim().to_owned());
        }
        for sub in below {
            walk(sub, &format!("{words} {}", sub.get_name()), all);
        }
    }
    let mut all = Vec::new();
    walk(&kopia_lite::cli::definition(), "", &mut all);
    all
}

/// A repository of which every pack is in an archive.
pub struct Frozen {
    pub s3: S3Env,
    words: Vec<(&'static str, String)>,
    /// What lay in the bucket and on this machine.
    pub before: State,
}

/// The bucket's objects with their classes, and the files of the user and of kopia-lite but for what
/// is cached.
pub type State = (Vec<(String, Vec<u8>, String)>, Vec<(PathBuf, Vec<u8>)>);

pub fn state(s3: &S3Env) -> State {
    let objects = s3.server.objects();
    let stored = objects.keys("").into_iter().map(|key| {
        let object = objects.get(&key).unwrap();
        (key, object.bytes.to_vec(), object.storage_class)
    });
    let mut kept = files(&s3.path("."));
    kept.retain(|(path, _)| !path.starts_with("cache"));
    (stored.collect(), kept)
}

impl Frozen {
    pub fn new() -> Self {
        let s3 = S3Env::new();
        s3.create("");
        let source = s3.plant();
        s3.ok(&format!("snapshot create {source}"));
        let old = s3.newest();
        s3.write("src/late.bin", noise(9, 40_000));
        s3.ok(&format!("snapshot create {source}"));
        s3.ok(&format!("policy set {source} --keep-daily=3"));
        s3.ok("policy export --to-file=policies.json");
        logs::write(Arc::new(s3.storage("r/")), &["one", "another"]);
        let id = s3.newest();
        let contents = s3.ok("content list --non-prefixed");
        let packs = s3.server.objects().keys("r/p");
        packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "GLACIER"));
        s3.ok(&format!("thaw start {id} --yes"));
        // A thaw is known, and forgotten by the storage.
        packs.iter().for_each(|key| _ = s3.server.objects().set_class(key, "DEEP_ARCHIVE"));
        // What is new is written, too.
        s3.write("src/new.bin", noise(10, 40_000));
        s3.ok("cache clear");
        s3.server.requests().clear();
        let folder = s3.text("new-folder");
        std::fs::create_dir(&folder).unwrap();
        let words = vec![
            ("$TOKEN2", token(&s3, "other/")),
            ("$TOKEN", token(&s3, "r/")),
            ("$FLAGS2", s3.flags().replace("--prefix=r/", "--prefix=other/")),
            ("$FLAGS", s3.flags()),
            ("$OWN", "--override-hostname=h --override-username=u".to_owned()),
            ("$NEW", s3.text("new-repository")),
            ("$FOLDER", folder),
            ("$SRC", source),
            ("$CONTENT", contents.lines().next().unwrap().to_owned()),
            ("$ID", id),
            ("$OLD", old),
            ("$OUT", s3.text("out")),
            ("$PACK", packs[0]["r/".len()..].to_owned()),
        ];
        let before = state(&s3);
        Self { s3, words, before }
    }

    /// The same again for another command: this one, if nothing has changed it.
    fn again(self) -> Self {
        if state(&self.s3) != self.before {
            return Self::new();
        }
        self.s3.ok("cache clear");
        self.s3.server.requests().clear();
        self
    }

    pub fn line(&self, line: &str) -> String {
        let put = |line: String, (word, value): &(&str, String)| line.replace(word, value);
        self.words.iter().fold(line.to_owned(), put)
    }
}

#[test]
fn every_command_is_known_and_none_reads_a_cold_pack() {
    let mut frozen = Frozen::new();
    for command in commands() {
        let Some(call) = call(&command) else {
            panic!("{command} is new: say above whether it needs file data, and how it is called");
        };
        frozen = frozen.again();
        let (line, code) = match call {
            Free(line) => (line, 0),
            Data(line) => (line, 4),
        };
        if ["repository connect filesystem", "repository repair filesystem"].contains(&&*command) {
            frozen.s3.ok(&frozen.line("repository create filesystem --path=$NEW"));
        }
        let run = frozen.s3.line(&frozen.line(line));
        assert_eq!(run.code, code, "{command}: {run:#?}");
        let requests = frozen.s3.server.requests();
        assert_eq!(requests.gets("r/p"), 0, "{command} reads a pack");
        assert!(!frozen.s3.path("out").exists(), "{command} wrote something");
    }
}

#[test]
fn reading_what_is_cold_is_refused_without_a_read_wherever_it_is_asked_for() {
    let frozen = Frozen::new();
    for (line, code) in [
        ("snapshot verify --verify-files-percent=100", 4),
        ("content verify --full", 0),
        ("restore $ID/sub $OUT", 4),
        ("restore $ID $OUT.zip", 4),
        ("restore $ID $OUT --dry-run", 4),
        ("show $ID/sub/b.bin", 4),
        ("diff $OLD $ID --files", 4),
    ] {
        let run = frozen.s3.line(&frozen.line(line));
        assert_eq!(run.code, code, "{line}: {run:#?}");
        assert_eq!(frozen.s3.server.requests().gets("r/p"), 0, "{line} reads a pack");
    }
}
