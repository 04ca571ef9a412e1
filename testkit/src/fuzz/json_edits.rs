//! Changes to JSON that leave most of it as it was, made of a fuzzer's bytes.

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

/// The most changes.
const EDITS_MAX: usize = 6;

/// Changes a few places of the value.
pub(super) fn edit(value: &mut Value, bytes: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..bytes.int_in_range(0..=EDITS_MAX)? {
        change(place(value, bytes)?, bytes)?;
    }
    Ok(())
}

/// Somewhere in the value: down from the top, and at each branch perhaps further.
fn place<'v>(value: &'v mut Value, bytes: &mut Unstructured<'_>) -> Result<&'v mut Value> {
    let branches = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if branches == 0 || bytes.ratio(1, 8)? {
        return Ok(value);
    }
    let branch = bytes.choose_index(branches)?;
    let below = match value {
        Value::Array(items) => items.get_mut(branch),
        Value::Object(fields) => fields.values_mut().nth(branch),
        _ => None,
    };
    match below {
        Some(below) => place(below, bytes),
        None => Err(arbitrary::Error::NotEnoughData),
    }
}

fn change(value: &mut Value, bytes: &mut Unstructured<'_>) -> Result<()> {
    if bytes.ratio(1, 4)? {
        *value = other(bytes)?;
        return Ok(());
    }
    match value {
        Value::Array(items) if !items.is_empty() => {
            let at = bytes.choose_index(items.len())?;
            if bytes.arbitrary()? {
                items.remove(at);
            } else if let Some(item) = items.get(at).cloned() {
                items.push(item);
            }
        }
        Value::Object(fields) => {
            let name = fields
                .keys()
                .nth(bytes.choose_index(fields.len().max(1))?)
                .cloned();
            name.map(|name| fields.remove(&name));
        }
        Value::Number(number) => {
            let near = number.as_u64().unwrap_or_default();
            let step: i8 = bytes.arbitrary()?;
            *value = json!(near.saturating_add_signed(step.into()));
        }
        Value::String(text) => {
            let at = bytes.choose_index(text.len() + 1)?;
            let kept = text.get(..at).unwrap_or_default();
            *value = json!(format!("{kept}{}", bytes.arbitrary::<&str>()?));
        }
        _ => *value = other(bytes)?,
    }
    Ok(())
}

/// A value of another kind, often at a limit.
fn other(bytes: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match bytes.int_in_range(0..=10_u8)? {
        0 => Value::Null,
        1 => json!(bytes.arbitrary::<bool>()?),
        2 => json!(bytes.arbitrary::<u8>()?),
        3 => json!(bytes.arbitrary::<u64>()?),
        4 => json!(u64::MAX),
        5 => json!(-1),
        6 => json!(bytes.arbitrary::<f64>()?),
        7 => json!(bytes.arbitrary::<&str>()?),
        8 => json!([]),
        9 => json!({}),
        _ => json!({ bytes.arbitrary::<&str>()?: bytes.arbitrary::<f32>()? }),
    })
}
