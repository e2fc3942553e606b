//! The command lines, in the order in which they run: what reads first, then what writes.

/// What is compared of a run, beside whether it ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Both streams.
    Both,
    /// Results alone: what stderr says of the course of things is each client's own.
    Stdout,
    /// Nothing more.
    Code,
}

/// One command line.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The words; `$ID1` and the like stand for what differs between the two sides.
    pub words: &'static str,
    /// What is compared.
    pub look: Look,
    /// Lines may come in any order.
    pub is_unordered: bool,
    /// Why the two differ, where they do on purpose.
    pub differs: Option<&'static str>,
}

impl Line {
    /// The same on S3, where some differ that do not in a folder.
    pub fn on_s3(&self) -> Self {
        let reason = DIFFER_ON_S3.iter().find(|(words, _)| *words == self.words);
        Self { differs: reason.map(|(_, reason)| *reason).or(self.differs), ..*self }
    }
}

const fn both(words: &'static str) -> Line {
    Line { words, look: Look::Both, is_unordered: false, differs: None }
}

const fn out(words: &'static str) -> Line {
    Line { look: Look::Stdout, ..both(words) }
}

const fn code(words: &'static str) -> Line {
    Line { look: Look::Code, ..both(words) }
}

const fn any_order(words: &'static str) -> Line {
    Line { is_unordered: true, ..out(words) }
}

const fn differs(words: &'static str, reason: &'static str) -> Line {
    Line { differs: Some(reason), ..both(words) }
}

/// What Kopia ends its progress with, where it shows none as well.
const AN_EMPTY_LINE: &str = "Kopia writes an empty line to stderr";

/// All of them.
pub const LINES: &[Line] = &[
    out("repository status"),
    out("repository status --json"),
    both("repository throttle get"),
    both("repository throttle get --json"),
    both("snapshot list"),
    both("snapshot list --all --show-identical --manifest-id"),
    both("snapshot list --json"),
    both("snapshot list --all --json --storage-stats"),
    both("snapshot list -m --owner --mtime --reverse -n 1"),
    differs(
        "snapshot list --tags=job:nightly --delta",
        "a folder's own size is 0 in Kopia, so that it shows no delta",
    ),
    out("snapshot list /nowhere"),
    any_order("list $ROOT2"),
    any_order("list -l $ROOT2"),
    any_order("list -lr $ROOT2"),
    any_order("ls -lo $ROOT2/sub"),
    both("show $ROOT2/a.txt"),
    both("show $ROOT2/sub/deep/c.txt"),
    // Kopia shows entries of a folder now in one order, now in another.
    any_order("diff $ROOT1 $ROOT2"),
    out("diff $ROOT1 $ROOT2 --stats-only"),
    out("snapshot estimate $SOURCE"),
    both("policy list"),
    both("policy list --json"),
    both("policy show --global"),
    both("policy show --global --json"),
    both("policy show $SOURCE"),
    both("policy show $SOURCE --json"),
    both("policy export --global"),
    any_order("blob list"),
    any_order("blob list --prefix=p --json"),
    both("blob stats"),
    both("blob stats --raw --prefix=q"),
    any_order("content list"),
    any_order("content list -l"),
    any_order("content list --json"),
    out("content stats"),
    out("content verify"),
    any_order("index list"),
    any_order("index list --json"),
    any_order("manifest list"),
    any_order("manifest list --json"),
    // Kopia shows labels in a random order.
    any_order("manifest show $ID1"),
    // Kopia shows tasks in a random order.
    any_order("maintenance info"),
    both("maintenance info --json"),
    out("snapshot verify --json"),
    differs("snapshot verify --verify-files-percent=100", "Kopia says that it lists blobs"),
    differs("restore $ROOT2 $OUT/one", AN_EMPTY_LINE),
    differs("restore $ROOT2/sub $OUT/two.tar", AN_EMPTY_LINE),
    differs("restore $SOURCE/a.txt $OUT/three --snapshot-time=latest", AN_EMPTY_LINE),
    differs("snapshot restore $ID1 $OUT/four --skip-times --no-overwrite-files", AN_EMPTY_LINE),
    out("snapshot create $SOURCE --json --no-progress"),
    out("snapshot create $SOURCE --description=words --tags=a:b --json --json-verbose"),
    both("snapshot expire --all"),
    both("snapshot delete $ID1"),
    both("snapshot pin $ID1 --add=keep"),
    both("snapshot delete $ID2 --delete"),
    both("policy set --global --keep-daily=14 --compression=zstd --add-ignore=*.tmp"),
    both("policy set $SOURCE --keep-latest=3 --keep-annual=inherit --max-file-size=100000"),
    both("policy show $SOURCE"),
    differs("policy delete $SOURCE -n", "it says that it would, not that it does"),
    both("policy delete $SOURCE"),
    both("maintenance set --owner=me --quick-interval=6h --enable-full=true"),
    code("maintenance run --full --safety=full"),
    both("repository throttle set --upload-bytes-per-second=10000000 --concurrent-reads=7"),
    both("repository throttle get"),
    both("repository set-client --description=words --read-only"),
    both("repository set-client --read-write"),
    differs(
        "repository set-parameters --max-pack-size-mb=30",
        "Kopia names the files of its own cache that it deletes",
    ),
    out("repository sync-to filesystem --path=$COPY"),
    both("snapshot copy-history $SOURCE /elsewhere -n"),
    both("snapshot move-history $SOURCE /elsewhere -n"),
    both("cache info --path"),
    code("cache clear"),
    code("snapshot frobnicate"),
    code("snapshot list --bogus"),
    code("show $ROOT2/nothing"),
    code("restore 00112233445566778899aabbccddeeff $OUT/none"),
    both("repository disconnect"),
    code("snapshot list"),
];

/// Lines of the table above that differ on S3 alone, and why.
const DIFFER_ON_S3: &[(&str, &str)] = &[
    ("repository status", "it says which .storageconfig counts"),
    ("blob list --prefix=p --json", "it tells the storage class of each blob"),
];

/// Lines that are about S3.
pub const ON_S3: &[Line] = &[
    out("repository connect $AT --override-hostname=h --override-username=u"),
    both("snapshot list --all"),
    out("repository sync-to $COPYAT -n"),
    out("repository sync-to $COPYAT"),
    out("repository sync-to $COPYAT --delete --parallel=4"),
    code("repository connect $COPYAT"),
    both("snapshot list --all"),
    code("snapshot verify"),
    code("repository create $COPYAT"),
    code(
        "repository connect s3 --bucket=nothing --endpoint=127.0.0.1:1 --access-key=a --secret-access-key=b",
    ),
    both("repository disconnect"),
];
