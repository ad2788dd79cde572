//! Client-side encryption: each record a message in the format of the AWS Encryption SDK, under a data key of KMS.
//!
//! What such a message consists of is decided in [`message`]; how long a data key is used, and what happens while there is
//! none, in [`keys`]; [`kms`] asks for one. What is encrypted, and what becomes of it, is left to those who make records.

pub mod keys;
pub mod kms;
pub mod message;
