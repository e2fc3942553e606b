//! Flags and AWS' own variables that say where a bucket is and whose keys open it: what the
//! connection file keeps of them is enough for the next command.

use std::time::Duration;

use s3_testkit::TEST_CA_PEM;

use crate::env::S3Env;

/// The flags of a repository without those of its keys.
fn place(s3: &S3Env) -> String {
    format!("{} --override-hostname=h --override-username=u", s3.place())
}

#[test]
fn variables_of_aws_say_where_the_bucket_is() {
    let s3 = S3Env::over_tls();
    let ca = s3.write("ca.pem", TEST_CA_PEM);
    let url = format!("https://localhost:{}", s3.server.addr().port());
    let keys = "--access-key=test --secret-access-key=test-secret-key";
    let line = format!("repository create s3 --bucket={} --prefix=r/ {keys}", s3.server.bucket());
    let S3Env { env, .. } = s3;
    let env = env.with("AWS_ENDPOINT_URL_S3", &url);
    let error = env.fails(1, &line);
    assert!(error.contains("certificate"), "{error}");
    let env = env.with("AWS_CA_BUNDLE", ca.to_str().unwrap());
    env.ok(&line);
    let kept = &env.config()["storage"]["config"];
    assert_eq!(kept["endpoint"], url["https://".len()..]);
    assert!(kept["rootCA"].as_str().unwrap().len() > 100, "{kept}");
    let env = env.with("AWS_ENDPOINT_URL_S3", "").with("AWS_CA_BUNDLE", "");
    env.ok("snapshot list");
    let env = env.with("AWS_ENDPOINT_URL_S3", "127.0.0.1");
    let error = env.fails(1, &line);
    assert!(error.contains("AWS_ENDPOINT_URL_S3 is \"127.0.0.1\""), "{error}");
    let nothing = env.text("nothing.pem");
    let env = env.with("AWS_ENDPOINT_URL_S3", "").with("AWS_CA_BUNDLE", nothing);
    assert!(env.fails(1, &line).contains("AWS_CA_BUNDLE"));
}

#[test]
fn a_profile_has_the_keys_and_none_is_kept() {
    let s3 = S3Env::new();
    s3.write(
        "home/.aws/credentials",
        "[work]\naws_access_key_id = test\naws_secret_access_key = test-secret-key\n",
    );
    let line = format!("repository create s3 {} --aws-profile=work --path-style", place(&s3));
    let error = s3.fails(1, &format!("{line} --access-key=other --secret-access-key=other"));
    assert!(error.contains("not both"), "{error}");
    let S3Env { env, server, .. } = s3;
    // Others in the environment are not those that were asked for.
    let env = env.with("AWS_ACCESS_KEY_ID", "other").with("AWS_SECRET_ACCESS_KEY", "other");
    env.ok(&line);
    let kept = &env.config()["storage"]["config"];
    assert_eq!((&kept["accessKeyID"], &kept["secretAccessKey"]), (&"".into(), &"".into()));
    assert_eq!(kept["kopiaLiteProfile"], "work");
    assert_eq!(kept["kopiaLiteAddressing"], "path");
    env.ok("snapshot list");
    env.ok("repository set-client --description=words");
    assert_eq!(env.config()["storage"]["config"]["kopiaLiteProfile"], "work");
    let error = env.fails(13, &line.replace("=work", "=play"));
    assert!(error.contains("no profile play"), "{error}");
    env.fails(2, &format!("{line} --virtual-host"));
    drop(server);
}

#[test]
fn a_role_is_taken_with_the_keys() {
    let s3 = S3Env::new();
    let issuer = s3.server.start_issuer(Duration::from_secs(3600)).unwrap();
    let role = "arn:aws:iam::111122223333:role/backup";
    let keys = "--access-key=test --secret-access-key=test-secret-key";
    let line = format!("repository create s3 {} {keys}", place(&s3));
    s3.fails(2, &format!("{line} --role-duration=2h"));
    let endpoint = issuer.endpoint();
    s3.ok(&format!("{line} --role-arn={role} --role-duration=2h --sts-endpoint={endpoint}"));
    let kept = &s3.config()["storage"]["config"];
    assert_eq!((&kept["roleARN"], &kept["sessionName"]), (&role.into(), &"kopia-lite".into()));
    assert_eq!((&kept["duration"], &kept["roleEndpoint"]), (&"2h0m0s".into(), &endpoint.into()));
    let before = issuer.issued("role");
    assert!(before > 0);
    s3.ok("snapshot list");
    assert!(issuer.issued("role") > before, "each command takes the role");
}
