//! No code decides by the name of a storage class but the one file that is for it.
//!
//! A price, a time, a minimum or the need of a thaw that somebody knows by a class' name is one that is
//! forgotten when a class is added. Facts are data (`crates/cold-storage/data/`), and what the types
//! themselves must know is asked of `StorageClass`.

/// Where classes have names, and storages for tests that play what a class does.
const NAMED_IN: &[&str] = &[
    "crates/blob-core/src/class.rs",
    "crates/blob-core/src/memory.rs",
    "crates/s3-testkit/",
    "crates/blob-testkit/",
    "xtask/",
];
/// What has no class is of this one; to say so decides nothing.
const DEFAULT: &str = "STANDARD";

/// Lines of code, not of tests or of comments, that name a class.
pub fn check(name: &str, text: &str) -> Vec<String> {
    let is_of_tests = |part: &str| part == "tests" || part == "examples" || part == "benches";
    let exempt = NAMED_IN.iter().any(|place| name.starts_with(place))
        || !name.contains("/src/")
        || name.split('/').any(is_of_tests)
        || name.ends_with("tests.rs");
    if exempt {
        return Vec::new();
    }
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let after = line.split("StorageClass::").skip(1);
        let named = after.map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            &rest[..end.unwrap_or(rest.len())]
        });
        let mut named =
            named.filter(|class| class.len() > 1 && !["KNOWN", DEFAULT].contains(class));
        if let Some(class) = named.next() {
            wrong.push(format!("{name}:{number}: decides by the name of the class {class}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_class_may_be_named_in_its_own_file_in_tests_and_in_comments() {
        let line = "if class == StorageClass::GLACIER {}\n";
        assert_eq!(check("crates/x/src/a.rs", line).len(), 1);
        let fine = [
            ("crates/blob-core/src/class.rs", line.to_owned()),
            ("crates/x/tests/a.rs", line.to_owned()),
            ("crates/x/src/a.rs", format!("/// {line}")),
            ("crates/x/src/a.rs", format!("#[cfg(test)]\n{line}")),
            ("crates/x/src/a.rs", "StorageClass::STANDARD; StorageClass::new(x)".to_owned()),
        ];
        for (name, text) in fine {
            assert_eq!(check(name, &text), Vec::<String>::new(), "{text}");
        }
    }
}
