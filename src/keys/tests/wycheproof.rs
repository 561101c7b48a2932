//! The published collections of edge values (Project Wycheproof), run through the one signature
//! function.
//!
//! `valid` has to verify; `invalid` and `acceptable` must not. A group whose parameters JOSE does
//! not have (another curve, hash, salt or mask, a tag cut short, a key too short or too long) is
//! counted apart: either its key is refused when it is loaded, or not one signature that is valid
//! under those parameters verifies under any algorithm that the key allows. (Some of its invalid
//! ones are valid where JOSE looks: a signature with SHA-256 is the wrong one in a group of
//! SHA-224.)

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::{EdwardsCurve, EllipticCurve, HashFunction, Mgf, TestResult};

use crate::keys::jwk::{Origin, parse_from};
use crate::keys::jwks::SkipReason;
use crate::keys::{Algorithm, Key};

/// One group, whatever its set.
struct Group {
    key: Result<Key, SkipReason>,
    /// None for parameters that JOSE does not have.
    algorithm: Option<Algorithm>,
    tests: Vec<Case>,
}

impl Group {
    fn valid(&self) -> impl Iterator<Item = &Case> {
        self.tests.iter().filter(|case| case.result == TestResult::Valid)
    }

    /// Panics if a signature under other parameters than JOSE's counts as one under JOSE's.
    fn assert_refused(&self, set: &str, key: &Key) {
        for case in self.valid() {
            for algorithm in key.algorithms() {
                let verifies = key.verify(algorithm, &case.message, &case.signature);
                assert!(!verifies, "{set} {} as {algorithm}", case.id);
            }
        }
    }
}

struct Case {
    id: usize,
    message: Vec<u8>,
    signature: Vec<u8>,
    result: TestResult,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    valid_accepted: usize,
    invalid_refused: usize,
    acceptable_refused: usize,
    groups_outside: usize,
    signatures_outside: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "valid accepted {:4}, invalid refused {:4}, acceptable refused {:2}, groups outside {:3} \
             (their {} valid signatures refused)",
            self.valid_accepted,
            self.invalid_refused,
            self.acceptable_refused,
            self.groups_outside,
            self.signatures_outside,
        )
    }
}

impl Count {
    fn add(&mut self, set: &str, group: &Group) {
        let inside = match (&group.key, group.algorithm) {
            (Ok(key), Some(algorithm)) => Some((key, algorithm)),
            (Ok(key), None) => {
                group.assert_refused(set, key);
                None
            }
            (Err(_), None) => None,
            (Err(reason), Some(_)) => panic!("{set}: a key of JOSE's is refused: {reason}"),
        };
        let Some((key, algorithm)) = inside else {
            self.groups_outside += 1;
            self.signatures_outside += group.valid().count();
            return;
        };
        for case in &group.tests {
            let verifies = key.verify(algorithm, &case.message, &case.signature);
            let count = match case.result {
                TestResult::Valid => &mut self.valid_accepted,
                TestResult::Invalid => &mut self.invalid_refused,
                TestResult::Acceptable => &mut self.acceptable_refused,
            };
            *count += 1;
            assert_eq!(verifies, case.result == TestResult::Valid, "{set} {}", case.id);
        }
    }
}

/// Runs the sets and prints what came of each.
fn run(sets: Vec<(String, Vec<Group>)>) -> Count {
    let mut sum = Count::default();
    for (set, groups) in sets {
        let mut count = Count::default();
        for group in &groups {
            count.add(&set, group);
        }
        println!("{set:45} {count}");
        sum.valid_accepted += count.valid_accepted;
        sum.invalid_refused += count.invalid_refused;
        sum.acceptable_refused += count.acceptable_refused;
        sum.groups_outside += count.groups_outside;
        sum.signatures_outside += count.signatures_outside;
    }
    println!("{:45} {sum}", "total");
    sum
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn load(jwk: &Value) -> Result<Key, SkipReason> {
    parse_from(jwk, Origin::Own)
}

/// Every test of a set's group, whose types differ by set and fields do not.
macro_rules! cases {
    ($group:expr, $signature:ident) => {
        $group
            .tests
            .iter()
            .map(|test| Case {
                id: test.tc_id,
                message: test.msg.to_vec(),
                signature: test.$signature.to_vec(),
                result: test.result,
            })
            .collect()
    };
}

fn ecdsa(name: &str) -> Vec<Group> {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(name.parse::<TestName>().unwrap()).unwrap();
    let groups = set.test_groups.iter();
    groups
        .map(|group| {
            let (curve, hash, algorithm) = match group.key.curve {
                EllipticCurve::Secp256r1 => ("P-256", HashFunction::Sha2_256, Algorithm::ES256),
                EllipticCurve::Secp256k1 => {
                    ("secp256k1", HashFunction::Sha2_256, Algorithm::ES256K)
                }
                EllipticCurve::Secp384r1 => ("P-384", HashFunction::Sha2_384, Algorithm::ES384),
                EllipticCurve::Secp521r1 => ("P-521", HashFunction::Sha2_512, Algorithm::ES512),
                _ => ("another", HashFunction::Sha2_256, Algorithm::ES256),
            };
            let point = &group.key.key[1..];
            let (x, y) = point.split_at(point.len() / 2);
            let jwk = json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) });
            let algorithm = (group.hash == hash && curve != "another").then_some(algorithm);
            Group { key: load(&jwk), algorithm, tests: cases!(group, sig) }
        })
        .collect()
}

#[test]
fn j5_ecdsa_accepts_valid_signatures_and_no_edge_value() {
    let names = [
        "ecdsa_secp256r1_sha256_p1363",
        "ecdsa_secp256k1_sha256_p1363",
        "ecdsa_secp384r1_sha384_p1363",
        "ecdsa_secp521r1_sha512_p1363",
        // Other hashes and curves than JOSE pairs.
        "ecdsa_brainpoolP256r1_sha256_p1363",
        "ecdsa_secp224r1_sha256_p1363",
        "ecdsa_secp256k1_sha512_p1363",
        "ecdsa_secp256r1_sha512_p1363",
        "ecdsa_secp256r1_shake128_p1363",
        "ecdsa_secp384r1_sha512_p1363",
        "ecdsa_secp521r1_shake256_p1363",
    ];
    let sets = names.map(|name| (name.to_owned(), ecdsa(name)));
    let total = run(sets.into());
    assert!(total.valid_accepted >= 764 && total.invalid_refused >= 348, "{total}");
    assert!(total.groups_outside >= 736, "{total}");
}

fn eddsa(name: &str) -> Vec<Group> {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(name.parse::<TestName>().unwrap()).unwrap();
    let groups = set.test_groups.iter();
    groups
        .map(|group| {
            let (curve, algorithm) = match group.key.curve {
                EdwardsCurve::Ed25519 => ("Ed25519", Some(Algorithm::EdDSA)),
                EdwardsCurve::Ed448 => ("Ed448", None),
            };
            let jwk = json!({ "kty": "OKP", "crv": curve, "x": text(&*group.key.pk) });
            Group { key: load(&jwk), algorithm, tests: cases!(group, sig) }
        })
        .collect()
}

#[test]
fn j7_eddsa_accepts_valid_signatures_and_no_edge_value() {
    let sets = ["ed25519", "ed448"].map(|name| (name.to_owned(), eddsa(name)));
    let total = run(sets.into());
    assert!(total.valid_accepted >= 88 && total.invalid_refused >= 63, "{total}");
}

/// The JOSE algorithm of this hash.
fn of_hash(hash: HashFunction, names: [Algorithm; 3]) -> Option<Algorithm> {
    let [sha256, sha384, sha512] = names;
    match hash {
        HashFunction::Sha2_256 => Some(sha256),
        HashFunction::Sha2_384 => Some(sha384),
        HashFunction::Sha2_512 => Some(sha512),
        _ => None,
    }
}

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

fn rsa_jwk(n: &[u8], e: &[u8]) -> Value {
    json!({ "kty": "RSA", "n": text(n), "e": text(e) })
}

#[test]
fn j6_rsa_accepts_valid_signatures_and_no_edge_value() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let names = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
    let sets = TestName::all().into_iter().map(|name| {
        let set = TestSet::load(name).unwrap();
        let groups = set.test_groups.iter().map(|group| Group {
            key: load(&rsa_jwk(&group.key.n, &group.key.e)),
            algorithm: of_hash(group.hash, names).filter(|_| RSA_BITS.contains(&group.key_size)),
            tests: cases!(group, sig),
        });
        (format!("{name:?}"), groups.collect())
    });
    let total = run(sets.collect());
    assert!(total.valid_accepted >= 68 && total.invalid_refused >= 2253, "{total}");
    assert!(total.acceptable_refused >= 9, "{total}");
}

#[test]
fn j6_rsa_pss_accepts_valid_signatures_and_no_edge_value() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let names = [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    let sets = TestName::all().into_iter().map(|name| {
        let set = TestSet::load(name).unwrap();
        let groups = set.test_groups.iter().map(|group| {
            // RFC 7518 section 3.5: MGF1 with the same hash, and a salt as long as it.
            let salt = match group.hash {
                HashFunction::Sha2_256 => 32,
                HashFunction::Sha2_384 => 48,
                HashFunction::Sha2_512 => 64,
                _ => 0,
            };
            let joses = RSA_BITS.contains(&group.key_size)
                && group.mgf == Mgf::Mgf1
                && group.mgf_hash == Some(group.hash)
                && group.salt_size == salt;
            let algorithm = of_hash(group.hash, names).filter(|_| joses);
            let key = load(&rsa_jwk(&group.key.n, &group.key.e));
            Group { key, algorithm, tests: cases!(group, sig) }
        });
        (format!("{name:?}"), groups.collect())
    });
    let total = run(sets.collect());
    assert!(total.valid_accepted >= 775 && total.invalid_refused >= 411, "{total}");
    assert!(total.groups_outside >= 309, "{total}");
}

#[test]
fn j8_hmac_accepts_whole_tags_of_long_secrets_alone() {
    use wycheproof::mac::{TestName, TestSet};
    let hashes = [
        ("hmac_sha256", 256, Algorithm::HS256),
        ("hmac_sha384", 384, Algorithm::HS384),
        ("hmac_sha512", 512, Algorithm::HS512),
    ];
    let sets = hashes.map(|(name, bits, algorithm)| {
        let set = TestSet::load(name.parse::<TestName>().unwrap()).unwrap();
        // Here each test has a key of its own.
        let groups = set.test_groups.iter().flat_map(|group| {
            group.tests.iter().map(move |test| {
                let jwk = json!({ "kty": "oct", "alg": algorithm.as_str(), "k": text(&*test.key) });
                let case = Case {
                    id: test.tc_id,
                    message: test.msg.to_vec(),
                    signature: test.tag.to_vec(),
                    result: test.result,
                };
                let joses = group.tag_size == bits && group.key_size >= bits;
                let key = load(&jwk);
                assert_eq!(key.is_ok(), group.key_size >= bits, "{name} {}", case.id);
                Group { key, algorithm: joses.then_some(algorithm), tests: vec![case] }
            })
        });
        (name.to_owned(), groups.collect())
    });
    let total = run(sets.into());
    assert!(total.valid_accepted >= 90 && total.invalid_refused >= 162, "{total}");
    assert!(total.groups_outside >= 270, "{total}");
}
