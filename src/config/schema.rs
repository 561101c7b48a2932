//! The JSON Schema of the file, for editors.

use serde_json::{Value as Json, json};

use super::Config;
use super::walk::Value;

/// JSON Schema (draft 2020-12) of the whole file, made from the tables' own definitions.
///
/// It knows keys, types and words; what the rules between tables say, only `check` knows.
pub fn schema() -> Json {
    let mut schema = Config::shape().schema;
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("Portcullis configuration"));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_knows_keys_and_defaults() {
        let schema = schema();
        let at = |pointer: &str| schema.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/properties/server/properties/idle_timeout/default"), json!("75s"));
        assert_eq!(at("/properties/route/type"), json!("array"));
        assert_eq!(at("/properties/route/items/required"), json!(["path"]));
        assert_eq!(
            at("/properties/listener/additionalProperties/properties/tls/required"),
            json!(["certificates"])
        );
        assert_eq!(at("/additionalProperties"), json!(false));
    }
}
