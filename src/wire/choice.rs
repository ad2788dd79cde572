//! In which format records go to a stream, where the configuration leaves that open: in CBOR, unless the service refuses it.
//!
//! As long as the service has not taken a request in CBOR, one request at a time tries it, and all others go in JSON. What
//! becomes of that one says what it says of CBOR ([`Trial`]). Only what was surely not stored is sent again at once in JSON, so
//! that a trial doubles nothing; what is uncertain is as uncertain as ever. JSON stays for good when it is taken right after CBOR
//! was refused, or while CBOR was not answered time and again. CBOR stays when it is taken once, unless a good answer in it cannot be
//! read: kinesalite cuts those that are longer than 16 KiB.

use super::Wire;
use crate::config::WireSetting;
use crate::outcome::{Failure, Verdict};

/// Requests in CBOR of which it is not known what became of them, while those in JSON got through, after which CBOR is given up. One
/// may be by chance, as every hundredth request fails in a bad hour.
const UNCLEAR_COUNT_MAX: u32 = 3;

/// What the fate of a request in CBOR says of CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It is taken.
    Accepted,
    /// Nothing was stored, and that it was in CBOR may be the reason.
    Refused,
    /// Something may have been stored, or nobody has answered, and that it was in CBOR may be the reason.
    Unclear,
    /// It is taken, and answered in a way that cannot be read.
    Broken,
    /// Nothing.
    Nothing,
}

/// Errors that are refusals of CBOR, even when they are in CBOR: the body was not understood, or is not what was signed.
const OF_FORMAT: [&str; 8] = [
    "SerializationException",
    "UnknownOperationException",
    "InvalidAction",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
];

impl Trial {
    /// What `failure` of a request in CBOR says: whether there was an answer, and in which format, if it was not empty.
    pub fn failed(failure: &Failure, is_answered: bool, answered_in: Option<Wire>) -> Self {
        match failure.verdict {
            Verdict::Uncertain => Self::Unclear,
            _ if failure.is_silence() => Self::Unclear,
            Verdict::SlowDown | Verdict::Retry => Self::Nothing,
            Verdict::Split | Verdict::Pause | Verdict::Renew => {
                let is_refusal = answered_in != Some(Wire::Cbor) || OF_FORMAT.contains(&failure.code.as_str());
                if is_answered && is_refusal { Self::Refused } else { Self::Nothing }
            }
        }
    }
}

/// What follows from a request in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing but what follows from its failure, if it has failed.
    Nothing,
    /// It is sent again at once, in JSON.
    AgainInJson,
    /// Nothing is sent again: its records may be stored. From now on it is JSON for good.
    JsonForGood,
    /// CBOR is refused, and is what the configuration asks for: that is said.
    Say,
}

/// The format of a destination, as far as it is known.
#[derive(Debug)]
pub struct Choice {
    setting: WireSetting,
    /// For good.
    settled: Option<Wire>,
    /// A request in CBOR was taken.
    has_accepted: bool,
    /// A request tries CBOR now, or was given up while it did.
    is_trying: bool,
    /// The last trial was unclear: the next has to wait until a request in JSON gets through.
    is_json_due: bool,
    unclear_count: u32,
}

impl Choice {
    /// Nothing is known but what is configured.
    pub fn new(setting: WireSetting) -> Self {
        let settled = match setting {
            WireSetting::Auto => None,
            WireSetting::Json => Some(Wire::Json),
            WireSetting::Cbor => Some(Wire::Cbor),
        };
        Self { setting, settled, has_accepted: false, is_trying: false, is_json_due: false, unclear_count: 0 }
    }

    /// The format of the next request. What becomes of it has to be told, by [`Choice::cbor`] or [`Choice::json`].
    pub fn wire(&mut self) -> Wire {
        if let Some(wire) = self.settled {
            return wire;
        }
        if self.is_trying || self.is_json_due {
            return Wire::Json;
        }
        self.is_trying = true;
        Wire::Cbor
    }

    /// What a request in CBOR has said.
    pub fn cbor(&mut self, trial: Trial) -> Then {
        self.has_accepted |= trial == Trial::Accepted;
        if trial == Trial::Broken {
            return match (self.setting, self.settled) {
                (WireSetting::Cbor, _) => Then::Say,
                // Another request has said so before.
                (_, Some(Wire::Json)) => Then::Nothing,
                _ => {
                    self.settled = Some(Wire::Json);
                    Then::JsonForGood
                }
            };
        }
        let is_taken_no_more = self.setting == WireSetting::Auto && self.settled == Some(Wire::Cbor) && trial == Trial::Refused;
        if self.settled.is_some() && !is_taken_no_more {
            let is_said = self.setting == WireSetting::Cbor && trial == Trial::Refused && !self.has_accepted;
            return if is_said { Then::Say } else { Then::Nothing };
        }
        // What is refused goes on in JSON as the same trial.
        self.is_trying = trial == Trial::Refused;
        match trial {
            Trial::Accepted => self.settled = Some(Wire::Cbor),
            Trial::Refused => return Then::AgainInJson,
            Trial::Unclear => {
                self.is_json_due = true;
                self.unclear_count += 1;
            }
            Trial::Broken | Trial::Nothing => {}
        }
        Then::Nothing
    }

    /// Whether a request in JSON was answered record by record; `is_again` if it was one that CBOR was refused for. Returns
    /// whether from now on it is JSON for good.
    pub fn json(&mut self, is_accepted: bool, is_again: bool) -> bool {
        if self.settled == Some(Wire::Json) || (self.settled.is_some() && !is_again) {
            return false;
        }
        self.is_trying &= !is_again;
        if !is_accepted {
            return false;
        }
        let is_for_good = is_again || self.is_json_due && self.unclear_count >= UNCLEAR_COUNT_MAX;
        self.is_json_due = false;
        self.settled = is_for_good.then_some(Wire::Json);
        is_for_good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Operation, Sent};

    fn answered(code: &str, status: u16) -> Failure {
        Failure::answered(Operation::PutRecords, code, status, "no")
    }

    fn unanswered(code: &str, sent: Sent) -> Failure {
        let verdict = crate::outcome::of_client(code, sent);
        Failure { verdict, code: code.to_owned(), message: "no".to_owned() }
    }

    #[test]
    fn only_what_was_surely_not_stored_is_a_refusal() {
        let (json, cbor) = (Some(Wire::Json), Some(Wire::Cbor));
        for (failure, is_answered, answered_in, expected) in [
            // The body was not understood, whoever says it in which format.
            (answered("SerializationException", 400), true, cbor, Trial::Refused),
            (answered("SerializationException", 400), true, json, Trial::Refused),
            (answered("UnknownOperationException", 404), true, cbor, Trial::Refused),
            (answered("UnknownOperationException", 404), true, None, Trial::Refused),
            (answered("InvalidSignatureException", 400), true, cbor, Trial::Refused),
            (answered("Http415", 415), true, json, Trial::Refused),
            (answered("Http415", 415), true, None, Trial::Refused),
            (answered("Http403", 403), true, json, Trial::Refused),
            // Who answers in JSON does not know CBOR, whatever it has found wrong.
            (answered("ValidationException", 400), true, json, Trial::Refused),
            (answered("ResourceNotFoundException", 400), true, json, Trial::Refused),
            (answered("ExpiredTokenException", 400), true, json, Trial::Refused),
            // Who answers in CBOR knows it.
            (answered("ValidationException", 400), true, cbor, Trial::Nothing),
            (answered("ResourceNotFoundException", 400), true, cbor, Trial::Nothing),
            (answered("AccessDeniedException", 400), true, cbor, Trial::Nothing),
            (answered("ExpiredTokenException", 400), true, cbor, Trial::Nothing),
            // It has nothing to do with the format.
            (answered("ProvisionedThroughputExceededException", 400), true, json, Trial::Nothing),
            (answered("Http429", 429), true, None, Trial::Nothing),
            (answered("RequestTimeoutException", 408), true, json, Trial::Nothing),
            (unanswered(Failure::DNS, Sent::Nothing), false, None, Trial::Nothing),
            (unanswered(Failure::CREDENTIALS, Sent::Nothing), false, None, Trial::Nothing),
            (unanswered(Failure::CERTIFICATE, Sent::Nothing), false, None, Trial::Nothing),
            // It may have been stored: surely not sent again at once.
            (answered("InternalFailure", 500), true, json, Trial::Unclear),
            (answered("InternalFailure", 500), true, cbor, Trial::Unclear),
            (answered("Http500", 500), true, json, Trial::Unclear),
            (answered("Http200", 200), true, None, Trial::Unclear),
            (unanswered(Failure::TIMEOUT, Sent::Perhaps), false, None, Trial::Unclear),
            (unanswered(Failure::CONNECTION_LOST, Sent::Perhaps), false, None, Trial::Unclear),
            (unanswered(Failure::CONNECTION_LOST, Sent::Partly), false, None, Trial::Unclear),
        ] {
            let actual = Trial::failed(&failure, is_answered, answered_in);
            assert_eq!(actual, expected, "{failure} {answered_in:?}");
            assert!(actual != Trial::Refused || failure.verdict != Verdict::Uncertain);
        }
    }

    #[test]
    fn one_request_tries_cbor_and_when_it_is_taken_all_others_follow() {
        let mut choice = Choice::new(WireSetting::Auto);
        assert_eq!(choice.wire(), Wire::Cbor);
        assert_eq!((choice.wire(), choice.wire()), (Wire::Json, Wire::Json));
        assert!(!choice.json(true, false));
        assert_eq!(choice.cbor(Trial::Accepted), Then::Nothing);
        assert!(!choice.json(true, false));
        assert_eq!((choice.wire(), choice.wire()), (Wire::Cbor, Wire::Cbor));
        // From now on nothing is held against it but that it is refused.
        for trial in [Trial::Unclear, Trial::Unclear, Trial::Unclear, Trial::Nothing] {
            assert_eq!(choice.cbor(trial), Then::Nothing);
            assert_eq!(choice.wire(), Wire::Cbor);
        }
    }

    #[test]
    fn what_is_refused_goes_in_json_which_stays_if_that_is_taken() {
        let mut choice = Choice::new(WireSetting::Auto);
        assert_eq!(choice.wire(), Wire::Cbor);
        assert_eq!(choice.cbor(Trial::Refused), Then::AgainInJson);
        // Others that get through say nothing: this one may be refused for what it is.
        assert_eq!(choice.wire(), Wire::Json);
        assert!(!choice.json(true, false));
        assert!(!choice.json(false, true));
        assert_eq!(choice.wire(), Wire::Cbor);
        assert_eq!(choice.cbor(Trial::Refused), Then::AgainInJson);
        assert!(choice.json(true, true), "said once");
        assert!(!choice.json(true, false) && !choice.json(true, true));
        assert_eq!((choice.wire(), choice.wire()), (Wire::Json, Wire::Json));
    }

    #[test]
    fn what_is_not_answered_again_and_again_is_given_up() {
        let mut choice = Choice::new(WireSetting::Auto);
        for turn in 1..=UNCLEAR_COUNT_MAX {
            assert_eq!(choice.wire(), Wire::Cbor);
            assert_eq!(choice.cbor(Trial::Unclear), Then::Nothing);
            // As long as nothing gets through it is not the format.
            assert_eq!(choice.wire(), Wire::Json);
            assert!(!choice.json(false, false));
            assert_eq!(choice.wire(), Wire::Json);
            assert_eq!(choice.json(true, false), turn == UNCLEAR_COUNT_MAX);
        }
        assert_eq!(choice.wire(), Wire::Json);
    }

    #[test]
    fn what_cannot_be_read_is_not_asked_for_again() {
        let mut choice = Choice::new(WireSetting::Auto);
        assert_eq!(choice.wire(), Wire::Cbor);
        assert_eq!(choice.cbor(Trial::Accepted), Then::Nothing);
        assert_eq!(choice.cbor(Trial::Broken), Then::JsonForGood);
        assert_eq!((choice.cbor(Trial::Broken), choice.cbor(Trial::Accepted)), (Then::Nothing, Then::Nothing));
        assert_eq!(choice.wire(), Wire::Json);
        let mut choice = Choice::new(WireSetting::Cbor);
        assert_eq!((choice.cbor(Trial::Accepted), choice.cbor(Trial::Broken)), (Then::Nothing, Then::Say));
        assert_eq!(choice.wire(), Wire::Cbor);
    }

    /// What is behind the address may be exchanged while the agent runs.
    #[test]
    fn what_was_taken_and_is_refused_later_goes_in_json_if_that_is_taken() {
        let mut choice = Choice::new(WireSetting::Auto);
        assert_eq!((choice.wire(), choice.cbor(Trial::Accepted)), (Wire::Cbor, Then::Nothing));
        assert_eq!(choice.cbor(Trial::Refused), Then::AgainInJson);
        assert!(!choice.json(false, true));
        assert_eq!(choice.wire(), Wire::Cbor);
        assert_eq!(choice.cbor(Trial::Refused), Then::AgainInJson);
        assert!(choice.json(true, true));
        assert_eq!(choice.wire(), Wire::Json);
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let mut choice = Choice::new(WireSetting::Auto);
        for _ in 0..10 {
            assert_eq!(choice.wire(), Wire::Cbor);
            assert_eq!(choice.cbor(Trial::Nothing), Then::Nothing);
        }
    }

    #[test]
    fn what_is_configured_is_kept() {
        let mut choice = Choice::new(WireSetting::Json);
        assert_eq!(choice.wire(), Wire::Json);
        assert!(!choice.json(true, false) && !choice.json(false, false));
        let mut choice = Choice::new(WireSetting::Cbor);
        for (trial, then) in [
            (Trial::Nothing, Then::Nothing),
            (Trial::Unclear, Then::Nothing),
            (Trial::Refused, Then::Say),
            (Trial::Refused, Then::Say),
            (Trial::Accepted, Then::Nothing),
            (Trial::Refused, Then::Nothing),
        ] {
            assert_eq!(choice.wire(), Wire::Cbor);
            assert_eq!(choice.cbor(trial), then);
        }
    }
}
