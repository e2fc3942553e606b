//! Passwords in a keyring, by a stand-in for libsecret's `secret-tool` that keeps them in a folder.

use std::os::unix::fs::PermissionsExt;

use crate::env::{PASSWORD, TestEnv};

/// What `secret-tool` does, as far as its manual page tells, with a folder for a keyring. It writes
/// down how it was called.
const TOOL: &str = r#"#!/bin/sh
folder="$(dirname "$0")/kept"
echo "$@" >> "$folder.calls"
verb=$1; shift
case $1 in --label=*) shift;; esac
entry="$folder/$2.$4"
case $verb in
    store) mkdir -p "$folder"; cat > "$entry";;
    lookup) [ -f "$entry" ] && cat "$entry";;
    clear) rm -f "$entry";;
esac
"#;

fn with_keyring(tool: &str) -> TestEnv {
    let env = TestEnv::new();
    let path = env.write("bin/secret-tool", tool);
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", env.text("bin"));
    let env = env.with("PATH", path).with("KOPIA_USE_KEYRING", "true");
    env.ok(&format!("repository create filesystem --path={}", env.text("repo")));
    env.with("KOPIA_PASSWORD", "")
}

#[test]
fn a_password_is_kept_found_and_forgotten_there() {
    let env = with_keyring(TOOL);
    assert!(!env.path("config/kopia/repository.config.kopia-password").exists());
    let kept: Vec<_> = fs_err::read_dir(env.path("bin/kept")).unwrap().collect();
    let entry = kept[0].as_ref().unwrap().path();
    assert_eq!(fs_err::read_to_string(&entry).unwrap(), PASSWORD);
    // Kopia's name: the file's name and 16 digits of the hash of its path.
    let name = entry.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("repository.config-"), "{name}");
    env.ok("repository status");
    let calls = fs_err::read_to_string(env.path("bin/kept.calls")).unwrap();
    assert!(calls.contains("lookup service repository.config-"), "{calls}");
    assert!(!calls.contains(PASSWORD), "it goes by a pipe: {calls}");
    env.ok("repository disconnect");
    assert!(!entry.exists());
}

#[test]
fn a_keyring_that_fails_says_so_and_no_file_is_written_instead() {
    let env = with_keyring(TOOL);
    let broken = "#!/bin/sh\necho 'Cannot autolaunch D-Bus without X11 $DISPLAY' >&2; exit 1\n";
    env.write("bin/secret-tool", broken);
    let text = env.fails(12, "repository status");
    assert!(
        text.contains("Cannot autolaunch D-Bus") && text.contains("--no-use-keyring"),
        "{text}"
    );
    fs_err::remove_file(env.path("bin/secret-tool")).unwrap();
    let connect = format!("repository connect filesystem --path={}", env.text("repo"));
    let env = env.with("KOPIA_PASSWORD", PASSWORD);
    let text = env.fails(12, &connect);
    assert!(text.contains("secret-tool is not installed"), "{text}");
    assert!(!env.path("config/kopia/repository.config.kopia-password").exists());
    env.ok(&format!("{connect} --no-use-keyring"));
    assert!(env.path("config/kopia/repository.config.kopia-password").exists());
}
