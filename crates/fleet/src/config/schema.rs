//! The JSON schema of `fleet.toml`, made from the same table as the settings.

use serde_json::{Map, Value, json};

use super::settings::{SETTINGS, Shape};

/// A length of time in JSON's words.
fn time() -> Value {
    json!({
        "oneOf": [
            { "type": "integer", "minimum": 0, "maximum": 86400 },
            { "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|min|h|d)?$" }
        ]
    })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Texts => texts(),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Time => time(),
        Shape::OneOf(words) => json!({ "enum": words }),
        Shape::Paths => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
    }
}

fn described(mut value: Value, doc: &str) -> Value {
    value["description"] = json!(doc);
    value
}

/// The settings, under their own names and the others by which they are known.
fn settings() -> Value {
    let mut properties = Map::new();
    for setting in SETTINGS {
        let own = described(shape(setting.shape), setting.doc);
        properties.insert(setting.name.to_owned(), own);
        for alias in setting.aliases {
            let doc = format!("The same as `{}`.", setting.name);
            properties.insert((*alias).to_owned(), described(shape(setting.shape), &doc));
        }
    }
    let named = |what: &str, doc: &str| {
        let each = json!({ "$ref": format!("#/$defs/{what}") });
        described(
            json!({ "type": "object", "additionalProperties": each }),
            doc,
        )
    };
    let checks = "Checks made from the deployer's machine, by name.";
    properties.insert("checks".to_owned(), named("check", checks));
    properties.insert("keys".to_owned(), named("key", "Secrets, by name."));
    object(Value::Object(properties))
}

fn object(properties: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn check() -> Value {
    object(json!({
        "tcp": { "type": "string", "description": "`HOST:PORT` that must accept connections; `{host}` is the host's address." },
        "http": { "type": "string", "description": "A URL that must be answered." },
        "command": described(texts(), "A command that must end with status 0."),
        "status": { "type": "integer", "minimum": 100, "maximum": 599, "description": "HTTP: the status wanted; usually any 2xx." },
        "contains": { "type": "string", "description": "HTTP: what the body must contain." },
        "insecure": { "type": "boolean", "description": "HTTP: do not check the server's certificate." },
        "timeout": described(time(), "How long one try may take. Usually 10s."),
        "retries": { "type": "integer", "minimum": 0, "maximum": 1000, "description": "How often it is tried again. Usually 5." },
        "interval": described(time(), "The pause between two tries. Usually 2s.")
    }))
}

fn key() -> Value {
    let mut key = object(json!({
        "file": { "type": "string", "description": "A file on this machine." },
        "command": described(texts(), "A command on this machine that prints it."),
        "env": { "type": "string", "description": "A variable of this program's environment." },
        "dir": { "type": "string", "description": "The directory on the host. Usually /run/backstop/keys, or /var/lib/backstop/keys if persistent." },
        "name": { "type": "string", "description": "The file's name there. Usually the key's." },
        "owner": { "type": "string", "description": "Whose it is. Usually root." },
        "group": { "type": "string", "description": "Whose group it is. Usually root." },
        "mode": { "type": "string", "pattern": "^0?[0-7]{3}$", "description": "Its permission bits in octal. Usually 0600." },
        "when": { "enum": ["before", "after", "pre-activation", "post-activation"], "description": "Before or after the activation. Usually before." },
        "persistent": { "type": "boolean", "description": "Keep it on the host's disk. Usually false." }
    }));
    let aliases = [
        ("keyFile", "file"),
        ("keyCommand", "command"),
        ("destDir", "dir"),
        ("user", "owner"),
        ("permissions", "mode"),
        ("uploadAt", "when"),
    ];
    for (alias, name) in aliases {
        let doc = format!("The same as `{name}`.");
        key["properties"][alias] = described(key["properties"][name].clone(), &doc);
    }
    key
}

fn rollout() -> Value {
    let wave = json!({
        "oneOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^([1-9][0-9]*|[1-9][0-9]?%|100%|rest)$" }
        ]
    });
    let count = |doc: &str| json!({ "type": "integer", "minimum": 1, "description": doc });
    object(json!({
        "waves": { "type": "array", "items": wave, "description": "The sizes of the waves: numbers, percentages of all hosts, or \"rest\". The last one is repeated." },
        "first": described(texts(), "Selections whose hosts make up a wave before all others."),
        "max_failures": { "type": "integer", "minimum": 0, "description": "How many hosts may fail before the rollout stops. Usually 0." },
        "on_failure": { "enum": ["stop", "put-back"], "description": "What then becomes of the hosts that this rollout has changed. Usually stop." },
        "pause": described(time(), "How long to wait between two waves."),
        "ignore_unreachable": { "type": "boolean", "description": "Hosts that can't be reached are no failures." },
        "prepare_ahead": { "type": "boolean", "description": "Build for and copy to hosts of later waves meanwhile. Usually true." },
        "parallel": object(json!({
            "reach": count("Hosts being connected to at once. Usually 20."),
            "build": count("Hosts being built for at once. Usually 2."),
            "copy": count("Hosts being copied to at once. Usually 10."),
            "activate": count("Hosts in their trial at once. Usually 20.")
        }))
    }))
}

/// The JSON schema.
#[must_use]
pub fn schema() -> Value {
    let each = json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/settings" } });
    let mut schema = object(json!({
        "$schema": { "type": "string" },
        "flake": { "type": "string", "description": "A flake whose nixosConfigurations are hosts too." },
        "rollout": described(rollout(), "How a rollout goes."),
        "defaults": { "$ref": "#/$defs/settings", "description": "What counts for all hosts." },
        "tags": described(each.clone(), "What counts for the hosts with a tag."),
        "hosts": described(each, "The hosts.")
    }));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("fleet.toml");
    schema["$defs"] = json!({ "settings": settings(), "check": check(), "key": key() });
    schema
}
