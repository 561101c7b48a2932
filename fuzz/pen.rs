//! From random bytes to texts that are nearly right: what is far off is refused at the first step
//! and shows nothing of the others.

/// A JSON object of `base`'s members, with each byte changed once: a member gone, another in its
/// place, one more, or a letter of the text.
pub(crate) fn object(bytes: &[u8], base: &[&str], others: &[&str]) -> String {
    let mut members: Vec<&str> = base.to_vec();
    let mut letters: Vec<(usize, char)> = Vec::new();
    for pair in bytes.chunks(2).take(8) {
        let (what, which) = (pair[0], usize::from(*pair.last().unwrap_or(&0)));
        let place = which % members.len().max(1);
        match what % 8 {
            0 if !members.is_empty() => drop(members.remove(place)),
            1 | 2 if !members.is_empty() => members[place] = others[which % others.len()],
            3 | 4 => members.push(others[which % others.len()]),
            5 => members.reverse(),
            6 => letters.push((which * 7, char::from(what / 2))),
            _ => {}
        }
    }
    let mut text = format!("{{{}}}", members.join(","));
    for (place, letter) in letters {
        let place = place % text.len();
        if text.is_char_boundary(place) {
            text.insert(place, letter);
        }
    }
    text
}

/// Words, and letters between them.
pub(crate) fn words(bytes: &[u8], words: &[&str]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            0x40.. => text.push_str(words[usize::from(byte) % words.len()]),
            letter => text.push(char::from(letter)),
        }
    }
    text
}

/// The members of a JSON object in order, twins included; none if the text is no object.
pub(crate) fn members(text: &[u8]) -> Option<Vec<(String, serde_json::Value)>> {
    struct Pairs;
    impl<'de> serde::de::Visitor<'de> for Pairs {
        type Value = Vec<(String, serde_json::Value)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let pairs = serde::Deserializer::deserialize_map(&mut json, Pairs).ok()?;
    json.end().ok()?;
    Some(pairs)
}
