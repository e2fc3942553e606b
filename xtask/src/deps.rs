//! What must never be in the dependency tree.
//!
//! rusoto of 2022 would bring a TLS and HTTP/2 stack with known holes; the façades keep it out, and
//! this check proves it in every run. See docs/adr/0002-rusoto-without-its-http-stack.md.

use anyhow::ensure;

use crate::{
    steps::Outcome,
    workspace::{Package, Workspace},
};

/// The first version of a crate that is allowed, and why.
struct Rule {
    name: &'static str,
    /// `None` = no version is.
    from: Option<(u64, u64)>,
    why: &'static str,
}

/// A package that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Offence {
    /// The name and the version as far as it counts: `hyper 0.14`.
    pub package: String,
    /// It is of the stack that rusoto brings where the façades are not.
    pub of_rusoto: bool,
    why: String,
}

impl std::fmt::Display for Offence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "  {}: {}", self.package, self.why)
    }
}

const fn rule(name: &'static str, from: Option<(u64, u64)>, why: &'static str) -> Rule {
    Rule { name, from, why }
}

const RULES: &[Rule] = &[
    rule("openssl-sys", None, "TLS is rustls; nothing links OpenSSL"),
    rule("openssl", None, "TLS is rustls; nothing links OpenSSL"),
    rule("native-tls", None, "TLS is rustls on every system"),
    rule("h2", Some((0, 4)), "RUSTSEC-2026-0258 is fixed in 0.4 alone"),
    rule("hyper", Some((1, 0)), "0.14 is rusoto's; the facade takes its place"),
    rule("hyper-rustls", Some((0, 27)), "older ones are rusoto's; the facade takes its place"),
    rule("rustls", Some((0, 23)), "older ones are out of support"),
    rule("ring", Some((0, 17)), "RUSTSEC-2025-0009"),
];

/// Checks every package of the lock file.
pub fn check(workspace: &Workspace) -> anyhow::Result<Outcome> {
    let wrong = offences(workspace);
    ensure!(wrong.is_empty(), "these packages must not be in the tree:\n{}", lines(&wrong));
    Ok(Outcome::Done(format!("{} packages, {} rules", workspace.all().len(), RULES.len())))
}

/// Every package that breaks a rule.
pub fn offences(workspace: &Workspace) -> Vec<Offence> {
    workspace.all().iter().filter_map(offence).collect()
}

/// One line for each.
pub fn lines(offences: &[Offence]) -> String {
    let lines: Vec<String> = offences.iter().map(Offence::to_string).collect();
    lines.join("\n")
}

fn offence(package: &Package) -> Option<Offence> {
    let from_outside = package.source.is_some();
    let rule = RULES.iter().find(|rule| rule.name == package.name && from_outside)?;
    let allowed = rule.from.is_some_and(|from| package.major_minor() >= from);
    let (major, minor) = package.major_minor();
    (!allowed).then(|| Offence {
        package: format!("{} {major}.{minor}", package.name),
        of_rusoto: rule.from.is_some(),
        why: rule.why.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, source: Option<&str>) -> Package {
        serde_json::from_value(serde_json::json!({
            "name": name, "version": version, "id": "", "source": source, "manifest_path": "",
            "dependencies": [], "targets": [], "readme": null,
        }))
        .expect("these are a package's fields")
    }

    #[test]
    fn old_stacks_are_found_and_the_facades_are_not() {
        let outside = Some("registry");
        for (name, version) in
            [("h2", "0.3.27"), ("rustls", "0.20.9"), ("ring", "0.16.20"), ("openssl-sys", "0.9.1")]
        {
            let found = offence(&package(name, version, outside)).expect(name);
            assert_eq!(found.of_rusoto, name != "openssl-sys", "{name}");
        }
        for (name, version, source) in [
            ("h2", "0.4.20", outside),
            ("ring", "0.17.14", outside),
            ("hyper", "1.12.0", outside),
            ("hyper", "0.14.999", None),
            ("serde", "1.0.0", outside),
        ] {
            assert_eq!(offence(&package(name, version, source)), None);
        }
    }
}
