//! Patterns against `wildcards.json`.

use super::*;

#[test]
fn patterns_match_what_kopias_matcher_matches() {
    let vectors = kopia_fixtures::vectors("wildcards.json");
    let paths: Vec<&str> =
        vectors["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    let mut checked = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let text = case["pattern"].as_str().unwrap();
        let base = case["baseDir"].as_str().unwrap();
        let parsed = if case["ignoreCase"].as_bool().unwrap() {
            Pattern::ignoring_case(text.as_bytes(), base)
        } else {
            Pattern::new(text.as_bytes(), base)
        };
        if let Some(error) = case.get("error") {
            assert_eq!(parsed.unwrap_err().to_string(), error.as_str().unwrap());
            checked += 1;
            continue;
        }
        let pattern = parsed.unwrap();
        assert_eq!(pattern.is_negated(), case["negated"].as_bool().unwrap(), "{text:?}");
        for (key, is_dir) in [("matchesFiles", false), ("matchesDirs", true)] {
            let expected: Vec<&str> =
                case[key].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
            let hits: Vec<&str> = paths
                .iter()
                .copied()
                .filter(|path| {
                    let ignored = pattern.ignores(&PathChars::new(path.as_bytes()), is_dir);
                    ignored != pattern.is_negated()
                })
                .collect();
            assert_eq!(hits, expected, "{text:?} at {base:?}, {key}");
        }
        checked += 1;
    }
    assert_eq!(checked, vectors["cases"].as_array().unwrap().len());
}

#[test]
fn bytes_that_are_no_text_are_one_character_each() {
    let pattern = Pattern::new(b"a?", "").unwrap();
    assert!(pattern.ignores(&PathChars::new(b"/a\xff"), false));
    assert!(!pattern.ignores(&PathChars::new(b"/a\xff\xfe"), false));
}

#[test]
fn hostile_patterns_end_soon() {
    let pattern = Pattern::new("**/a".repeat(12).as_bytes(), "").unwrap();
    let path = PathChars::new(format!("{}b", "/a".repeat(14)).as_bytes());
    assert!(!pattern.ignores(&path, false));
    let stars = Pattern::new("*a".repeat(40).as_bytes(), "").unwrap();
    let path = PathChars::new(format!("/{}b", "a".repeat(200)).as_bytes());
    assert!(!stars.ignores(&path, false));
}

#[test]
fn the_longest_path_and_a_pattern_of_stars_fit_on_a_small_stack() {
    // PATH_MAX is 4096; a thread has 2 MiB by default.
    let matching = || {
        let pattern = Pattern::new("*a".repeat(5000).as_bytes(), "").unwrap();
        let path = PathChars::new(format!("/{}", "a".repeat(4200)).as_bytes());
        pattern.ignores(&path, false)
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(matching).unwrap();
    assert!(!thread.join().unwrap());
}
