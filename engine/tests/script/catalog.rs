//! Keyspaces.
//!
//! | command | what |
//! |---|---|
//! | `keyspace NAME [ttl D]`, `alter NAME ttl D`, `drop NAME` | create, change, drop |
//! | `keyspaces [at T]` | those that are live, now or then, as described then |

use icecore_engine::Engine;
use icecore_mvcc::{Descriptor, KeyspaceSettings, Timestamp, format_duration, parse_duration};

use super::{Outcome, Stage, Words, lines};

pub fn run(stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
    Some(match verb {
        "keyspace" => create(stage.engine(), words),
        "alter" => alter(stage.engine(), words),
        "drop" => drop_keyspace(stage.engine(), words),
        "keyspaces" => list(stage, words),
        _ => return None,
    })
}

fn settings(words: &mut Words) -> KeyspaceSettings {
    let mut settings = KeyspaceSettings::default();
    if let Some(ttl) = words.option("ttl") {
        settings.gc_ttl = parse_duration(&ttl).unwrap();
    }
    settings
}

fn create(engine: &Engine, words: &mut Words) -> Outcome {
    let settings = settings(words);
    let name = String::from_utf8(words.bytes()).unwrap();
    let created = engine.create_keyspace(&name, settings)?.descriptor();
    Ok(format!(
        "id {} at {}\n",
        created.id,
        created.created.nanos()
    ))
}

fn alter(engine: &Engine, words: &mut Words) -> Outcome {
    let settings = settings(words);
    Ok(format!(
        "{}\n",
        describe(&engine.alter_keyspace(&words.next(), settings)?)
    ))
}

fn drop_keyspace(engine: &Engine, words: &mut Words) -> Outcome {
    Ok(format!(
        "at {}\n",
        engine.drop_keyspace(&words.next())?.nanos()
    ))
}

fn list(stage: &Stage, words: &mut Words) -> Outcome {
    let at = match words.option("at") {
        Some(time) => stage.time(&time),
        None => stage.engine().visible(),
    };
    Ok(lines(
        stage.engine().descriptors_at(at)?.iter().map(describe),
    ))
}

/// All that a descriptor says.
pub fn describe(descriptor: &Descriptor) -> String {
    let mut text = format!(
        "id {} {} ttl {}, created {}",
        descriptor.id,
        descriptor.name,
        format_duration(descriptor.settings.gc_ttl),
        descriptor.created.nanos()
    );
    if descriptor.introduced != descriptor.created {
        text.push_str(&format!(", introduced {}", descriptor.introduced.nanos()));
    }
    if descriptor.index_since != Timestamp::MIN {
        text.push_str(&format!(", index since {}", descriptor.index_since.nanos()));
    }
    if let Some(dropped) = descriptor.dropped {
        text.push_str(&format!(", dropped {}", dropped.nanos()));
    }
    text
}
