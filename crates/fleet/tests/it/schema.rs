//! The JSON schema, the file in `docs/`, and what is really read agree.

use fleet::config::{Description, SETTINGS, Shape, schema};
use serde_json::Value;

fn load(toml: &str) -> Result<Description, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet.toml");
    std::fs::write(&path, toml).unwrap();
    Description::load(&path).map_err(|e| e.to_string())
}

#[test]
fn the_file_in_docs_is_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fleet.schema.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let hint = "write it anew with `backstop fleet schema > docs/fleet.schema.json`";
    assert!(kept == schema(), "{hint}");
}

/// Values of a shape: those that are read, and one that is not.
fn values(shape: Shape) -> (Vec<String>, &'static str) {
    match shape {
        Shape::Text => (vec!["'/nix/store/x'".to_owned()], "7"),
        Shape::Texts => (vec!["['x']".to_owned()], "'x'"),
        Shape::Flag => (vec!["true".to_owned(), "false".to_owned()], "'yes'"),
        Shape::Number(least, most) => (vec![least.to_string(), most.to_string()], "'many'"),
        Shape::Time => (vec!["'90s'".to_owned(), "5".to_owned()], "'soon'"),
        Shape::OneOf(words) => (words.iter().map(|w| format!("'{w}'")).collect(), "'other'"),
        Shape::Paths => (vec!["{ x86_64 = '/x' }".to_owned()], "'x'"),
    }
}

#[test]
fn every_setting_of_the_schema_is_read_by_each_of_its_names() {
    for setting in SETTINGS {
        let (good, bad) = values(setting.shape);
        for name in std::iter::once(setting.name).chain(setting.aliases.iter().copied()) {
            for value in &good {
                let value = match setting.name {
                    "image" | "fetch" => "'/r:x'",
                    _ => value,
                };
                let read = load(&format!("[defaults]\n{name} = {value}\n"));
                assert!(read.is_ok(), "{name} = {value}: {read:?}");
            }
            let refused = load(&format!("[defaults]\n{name} = {bad}\n"));
            assert!(refused.is_err(), "{name} = {bad}");
        }
    }
}

/// Whatever the schema names below `at` is read in the table `table`.
fn names(at: &str) -> Vec<String> {
    let schema = schema();
    let properties = schema.pointer(at).unwrap().as_object().unwrap();
    properties.keys().cloned().collect()
}

#[test]
fn the_other_tables_know_the_names_of_the_schema() {
    let tables = [
        ("/properties/rollout/properties", "[rollout]"),
        (
            "/properties/rollout/properties/parallel/properties",
            "[rollout.parallel]",
        ),
        ("/$defs/check/properties", "[defaults.checks.c]"),
        ("/$defs/key/properties", "[defaults.keys.k]"),
        ("/$defs/settings/properties", "[defaults]"),
        ("/properties", ""),
    ];
    for (at, table) in tables {
        for name in names(at) {
            // Whether the value is taken or not: the name must be known.
            let name = if name == "$schema" {
                "'$schema'"
            } else {
                &name
            };
            let read = load(&format!("{table}\n{name} = 1979-05-27\n"));
            let error = read.err().unwrap_or_default();
            let unknown = format!("unknown field `{}`", name.trim_matches('\''));
            assert!(!error.contains(&unknown), "{table} {name}: {error}");
        }
        let error = load(&format!("{table}\nno_such_name = 1\n")).unwrap_err();
        assert!(error.contains("unknown field"), "{table}: {error}");
        assert!(error.contains("line "), "{error}");
    }
}
