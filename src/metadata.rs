//! What the metadata service of EC2 says of this host.

use std::collections::BTreeMap;

/// What is known of the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "to be replaced")]
pub struct Ec2 {
    pub instance_id: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub instance_type: Option<String>,
    pub account_id: Option<String>,
    pub ami_id: Option<String>,
    pub private_ip: Option<String>,
    pub tags: BTreeMap<String, String>,
}
