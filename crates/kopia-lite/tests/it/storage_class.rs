//! `storage-class`, and what `blob` tells of classes.

use std::time::Duration;

use blob_core::{Archive, BlobId, ThawRequest, Tier};
use s3_testkit::Kind;
use serde_json::json;

use crate::env::{S3Env, TestEnv, keys};

/// The least that a table of prices has.
const OWN: &str = r#"{
    "schema": 1, "region": "eu-west-1", "currency": "EUR", "prices_as_of": "2026-01-02",
    "classes": {
        "STANDARD": {
            "readable_at_once": true, "storage_gb_month": [{ "up_to_gb": null, "usd": 0.024 }],
            "put_per_1000": 0.005, "get_per_1000": 0.0004
        },
        "GLACIER": {
            "readable_at_once": false, "storage_gb_month": [{ "up_to_gb": null, "usd": 0.00405 }],
            "put_per_1000": 0.03, "get_per_1000": 0.0004,
            "restore": {
                "Bulk": { "request_per_1000": 0, "per_gb": 0.5, "hours_min": 1, "hours_max": 2 }
            }
        }
    },
    "requests": { "list_per_1000": 0.005 },
    "restored_copy": { "storage_gb_month": 0.024 },
    "egress": { "to_internet_gb": [{ "up_to_gb": null, "usd": 0.09 }], "same_region_ec2_gb": 0 }
}"#;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn classes_are_told_without_a_connection() {
    let env = TestEnv::new();
    let list = env.json("storage-class list --json");
    let of = |name: &str| {
        let all = list.as_array().unwrap().iter();
        all.clone().find(|class| class["storageClass"] == name).unwrap().clone()
    };
    let glacier = json!({
        "storageClass": "GLACIER", "readable": "after-thaw", "minimumDays": 90, "minimumBytes": 0,
        "overheadBytes": 40960,
        "tiers": [{"tier": "bulk", "seconds": 43200}, {"tier": "standard", "seconds": 18000},
            {"tier": "expedited", "seconds": 302}],
        "prices": {"storageGBMonth": "0.0036", "put1000": "0.0300", "retrievalGB": "0.0100"},
        "region": "us-east-1", "date": "2026-09-28",
    });
    assert_eq!(of("GLACIER"), glacier);
    assert_eq!(keys(&of("GLACIER")), keys(&glacier));
    assert_eq!(of("GLACIER_IR")["readable"], "at-once");
    assert_eq!(of("GLACIER_IR")["prices"]["retrievalGB"], "0.0300");
    let text = env.ok("storage-class list");
    let deep = text.lines().find(|line| line.starts_with("DEEP_ARCHIVE")).unwrap();
    let words: Vec<_> = deep.split_whitespace().collect();
    assert_eq!(words[1..], ["after", "thaw", "180", "-", "40960", "0.00099", "0.0500", "0.0200"]);
    assert!(text.ends_with("\nUSD, us-east-1, prices of 2026-09-28 (built in)\n"), "{text}");
}

#[test]
fn one_class_is_shown_with_tiers_and_prices() {
    let env = TestEnv::new();
    let text = env.ok("storage-class show DEEP_ARCHIVE");
    for said in [
        "Readable:                after thaw\n",
        "Thaw, bulk:              12 h to 48 h; 0.0025 a GB, 0.0250 for 1000 requests\n",
        "Thaw, standard:          9 h to 12 h; 0.0200 a GB, 0.1000 for 1000 requests\n",
        "Minimum days:            180\n",
        "Overhead per object:     32768 bytes, and 8192 bytes at the price of STANDARD\n",
        "USD, us-east-1, prices of 2026-09-28 (built in)\n",
    ] {
        assert!(text.contains(said), "{said:?}\n{text}");
    }
    assert!(!text.contains("expedited"), "{text}");
    let json = env.json("storage-class show DEEP_ARCHIVE --json");
    assert_eq!((&json["currency"], &json["source"]), (&json!("USD"), &json!("built in")));
    assert_eq!(json["tiers"][0]["minimumSeconds"], 43200);
    assert_eq!(json["tiers"][0]["request1000"], "0.0250");
    assert!(env.ok("storage-class show INTELLIGENT_TIERING").contains("unless the bucket moves"));
    let text = env.fails(1, "storage-class show glacier");
    assert!(text.contains("has no class glacier; it has DEEP_ARCHIVE, "), "{text}");
}

#[test]
fn prices_of_another_region_are_not_made_up() {
    let env = TestEnv::new();
    let text = env.fails(1, "storage-class show GLACIER --region=eu-west-1");
    assert_eq!(
        text,
        "ERROR the price table (built in) is of us-east-1, not of eu-west-1; give one of eu-west-1 \
         with --price-table=FILE\n"
    );
    env.ok("storage-class list --region=us-east-1");
    env.write("own.json", OWN);
    let flags = "--region=eu-west-1 --price-table=own.json";
    let json = env.json(&format!("storage-class show GLACIER {flags} --json"));
    assert_eq!(json["prices"]["storageGBMonth"], "0.00405");
    assert_eq!((&json["region"], &json["source"]), (&json!("eu-west-1"), &json!("own.json")));
    assert_eq!((&json["currency"], &json["date"]), (&json!("EUR"), &json!("2026-01-02")));
    assert_eq!(
        json["tiers"],
        json!([{"tier": "bulk", "seconds": 7200, "minimumSeconds": 3600,
        "request1000": "0.0000", "retrievalGB": "0.5000"}])
    );
    let text = env.ok(&format!("storage-class list {flags}"));
    assert_eq!(text.lines().count(), 5, "{text}");
    env.write("bad.json", "{}");
    let text = env.fails(1, "storage-class list --price-table=bad.json");
    assert!(text.contains("bad.json: the price table can't be read"), "{text}");
}

/// A repository with three packs: one archived, one thawing, one thawed; the rest is as written.
fn with_cold_packs() -> (S3Env, [String; 3]) {
    let s3 = S3Env::new();
    s3.create("");
    for n in 0..3 {
        s3.write("src/new", crate::env::noise(n, 40_000));
        let source = s3.text("src");
        s3.ok(&format!("snapshot create {source}"));
    }
    let packs: [String; 3] = s3.server.objects().keys("r/p").try_into().unwrap();
    for pack in &packs {
        assert!(s3.server.objects().set_class(pack, "GLACIER"));
    }
    let packs = packs.map(|pack| pack["r/".len()..].to_owned());
    thaw(&s3, &packs[2], Tier::Expedited);
    s3.server.clock().advance(HOUR);
    thaw(&s3, &packs[1], Tier::Bulk);
    s3.server.requests().clear();
    (s3, packs)
}

/// Asks for a readable copy by other means.
fn thaw(s3: &S3Env, id: &str, tier: Tier) {
    let (storage, id) = (s3.storage("r/"), BlobId::new(id).unwrap());
    let request = ThawRequest { tier, days: 7 };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(storage.thaw(&id, &request)).unwrap();
}

#[test]
fn blobs_tell_their_class_and_whether_they_can_be_read() {
    let (s3, [archived, thawing, thawed]) = with_cold_packs();
    let list = s3.json("blob list --prefix=p --json");
    let of = |id: &str| {
        let all = list.as_array().unwrap().iter();
        all.clone().find(|blob| blob["id"] == id).unwrap().clone()
    };
    assert_eq!(
        keys(&of(&archived)),
        ["id", "length", "timestamp", "storageClass", "restore"],
        "{list}"
    );
    assert_eq!(of(&archived)["storageClass"], "GLACIER");
    assert_eq!(of(&archived)["restore"], json!({"state": "archived"}));
    assert_eq!(of(&thawing)["restore"], json!({"state": "thawing"}));
    assert_eq!(of(&thawed)["restore"]["state"], "thawed");
    let until = of(&thawed)["restore"]["until"].as_str().unwrap().to_owned();
    assert!(until.ends_with("T00:00:00Z"), "{until}");
    let ids = |flags: &str| -> Vec<String> {
        let list = s3.json(&format!("blob list {flags} --json"));
        let all = list.as_array().unwrap().iter();
        all.map(|blob| blob["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut cold = [archived, thawing];
    cold.sort();
    assert_eq!(ids("--archived"), cold);
    assert_eq!(ids("--storage-class=GLACIER").len(), 3);
    assert_eq!(ids("--storage-class=DEEP_ARCHIVE").len(), 0);
    let all = ids("--storage-class=GLACIER,STANDARD");
    assert_eq!(all, ids(""));
    let rest = s3.json("blob list --storage-class=STANDARD --json");
    assert_eq!(keys(&rest[0]), ["id", "length", "timestamp", "storageClass"]);
    assert_eq!(s3.server.requests().of(Kind::Head, "r/p").len(), 0, "the listing told it all");
    // Kopia's line is not changed by what it does not know.
    assert_eq!(s3.ok("blob list --prefix=p").lines().count(), 3);
}

#[test]
fn blobs_are_counted_and_priced_by_group() {
    let (s3, _) = with_cold_packs();
    let json = s3.json("blob stats --by=kind,class --json");
    let row = json["rows"].as_array().unwrap().iter().find(|row| row["kind"] == "p").unwrap();
    assert_eq!((&row["kind"], &row["storageClass"]), (&json!("p"), &json!("GLACIER")), "{json}");
    assert_eq!(keys(row), ["kind", "storageClass", "count", "bytes", "monthlyCost"]);
    let plain = s3.json("blob stats --prefix=p --json");
    assert_eq!((&row["count"], &row["bytes"]), (&plain["count"], &plain["bytes"]));
    let bytes = plain["bytes"].as_f64().unwrap();
    let gib = f64::from(1 << 30);
    let cost = bytes / gib * 0.0036 + 3.0 * (32_768.0 * 0.0036 + 8_192.0 * 0.023) / gib;
    let told: f64 = row["monthlyCost"].as_str().unwrap().parse().unwrap();
    assert!((told - cost).abs() < 1e-11, "{told} {cost}");
    let all = s3.json("blob stats --json");
    assert_eq!(json["total"]["count"], all["count"]);
    assert_eq!(json["total"]["currency"], "USD");
    assert_eq!(json["priceTable"]["date"], "2026-09-28");
    let text = s3.ok("blob stats --by=class,age --raw");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["class", "age", "count", "bytes", "USD/month"]
    );
    assert!(lines[1].starts_with("GLACIER              under 1d "), "{text}");
    assert!(lines[3].starts_with("total "), "{text}");
    // A table that nothing would look at is a mistake.
    s3.fails(2, "blob stats --price-table=own.json");
    // Blobs of a filesystem have no class and no price.
    let env = TestEnv::with_repository();
    let json = env.json("blob stats --by=class --json");
    assert_eq!(json["rows"][0]["storageClass"], json!(null));
    assert_eq!(json["total"]["monthlyCost"], json!(null));
    let json = env.json("blob list --json");
    assert_eq!(keys(&json[0]), ["id", "length", "timestamp"]);
}
