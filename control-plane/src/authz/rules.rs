//! The table of authorization rules, one row for each RPC. A test walks the
//! compiled descriptors and fails when an RPC has no row, or a row no RPC.

use nla_domain::operator::Level;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anyone who reaches the enrolment listener; nobody on the main one.
    EnrolmentListener,
    /// Enrolled edges that are not revoked.
    Edge,
    /// The same, and revoked ones, for the only purpose of telling them so: an
    /// edge that was away when it was banned must still learn it.
    EdgeStream,
    /// Operators of these levels.
    Operator(&'static [Level]),
    /// Any enrolled edge or operator.
    AnyPeer,
}

/// Sees objects without secrets.
const READ: Rule = Rule::Operator(&Level::ALL);
/// Reads the audit log, which holds what agents asked.
const AUDIT: Rule = Rule::Operator(&[Level::Auditor, Level::Admin]);
/// Daily work: tokens, and the passwords behind databases that exist.
const OPERATE: Rule = Rule::Operator(&[Level::Operator, Level::Admin]);
/// Decides what can be reached at all, and by whom.
const ADMINISTER: Rule = Rule::Operator(&[Level::Admin]);

/// Path of each method and who may call it.
pub const RULES: &[(&str, Rule)] = &[
    ("/nla.v1.Enrolment/Join", Rule::EnrolmentListener),
    ("/nla.v1.Enrolment/Renew", Rule::Edge),
    ("/nla.v1.EdgeSync/Sync", Rule::EdgeStream),
    ("/nla.v1.AuditIngest/Append", Rule::Edge),
    ("/nla.v1.Audit/List", AUDIT),
    ("/nla.v1.Audit/Tail", AUDIT),
    ("/nla.v1.Tokens/Create", OPERATE),
    ("/nla.v1.Tokens/List", READ),
    ("/nla.v1.Tokens/Get", READ),
    ("/nla.v1.Tokens/Revoke", OPERATE),
    ("/nla.v1.Tokens/Rotate", OPERATE),
    ("/nla.v1.Receipts/Get", READ),
    ("/nla.v1.Tokens/Update", OPERATE),
    ("/nla.v1.Databases/Create", ADMINISTER),
    ("/nla.v1.Databases/Update", ADMINISTER),
    ("/nla.v1.Databases/List", READ),
    ("/nla.v1.Databases/Get", READ),
    ("/nla.v1.Databases/Delete", ADMINISTER),
    ("/nla.v1.Databases/Test", OPERATE),
    ("/nla.v1.Credentials/Set", OPERATE),
    // Makes the control plane read and run things.
    ("/nla.v1.Credentials/Reference", ADMINISTER),
    ("/nla.v1.Credentials/List", READ),
    // Decides which database roles NLA may change.
    ("/nla.v1.Rotations/Configure", ADMINISTER),
    ("/nla.v1.Rotations/Start", OPERATE),
    ("/nla.v1.Rotations/Get", READ),
    ("/nla.v1.Rotations/List", READ),
    ("/nla.v1.Rotations/Abort", OPERATE),
    ("/nla.v1.Rotations/Resume", OPERATE),
    ("/nla.v1.Rotations/Schedule", OPERATE),
    ("/nla.v1.Roles/Create", ADMINISTER),
    ("/nla.v1.Roles/Update", ADMINISTER),
    ("/nla.v1.Roles/List", READ),
    ("/nla.v1.Roles/Get", READ),
    ("/nla.v1.Roles/Delete", ADMINISTER),
    ("/nla.v1.Edges/List", READ),
    ("/nla.v1.Edges/Get", READ),
    ("/nla.v1.Edges/CreateJoinToken", ADMINISTER),
    ("/nla.v1.Edges/Revoke", ADMINISTER),
    ("/nla.v1.Edges/Drain", ADMINISTER),
    ("/nla.v1.Edges/Resume", ADMINISTER),
    ("/nla.v1.Edges/Quarantine", ADMINISTER),
    ("/nla.v1.Edges/Release", ADMINISTER),
    ("/nla.v1.Operators/Create", ADMINISTER),
    ("/nla.v1.Operators/List", AUDIT),
    ("/nla.v1.Operators/Revoke", ADMINISTER),
    // For oneself only: neither request can name anybody.
    ("/nla.v1.Operators/Renew", READ),
    ("/nla.v1.Operators/FinishRenewal", READ),
    ("/nla.v1.Authorities/Status", READ),
    ("/nla.v1.Authorities/Prepare", ADMINISTER),
    ("/nla.v1.Authorities/Activate", ADMINISTER),
    ("/nla.v1.Authorities/Retire", ADMINISTER),
    ("/nla.v1.Authorities/Rollback", ADMINISTER),
    ("/nla.v1.Keys/Status", READ),
    ("/nla.v1.Keys/RotateKek", ADMINISTER),
    ("/nla.v1.Keys/RotateData", ADMINISTER),
    ("/nla.v1.Keys/RotatePepper", ADMINISTER),
    ("/nla.v1.System/Status", READ),
    ("/nla.v1.Backups/Create", ADMINISTER),
    ("/nla.v1.Backups/Verify", AUDIT),
    ("/grpc.health.v1.Health/Check", Rule::AnyPeer),
    ("/grpc.health.v1.Health/Watch", Rule::AnyPeer),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", READ),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", READ),
];

/// The rule of a method; `None` means that nobody may call it.
pub fn rule(path: &str) -> Option<Rule> {
    RULES.iter().find(|(method, _)| *method == path).map(|(_, rule)| *rule)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    fn methods(descriptors: &[u8]) -> BTreeSet<String> {
        let set = prost_types::FileDescriptorSet::decode(descriptors).unwrap();
        let mut methods = BTreeSet::new();
        for file in set.file {
            for service in &file.service {
                for method in &service.method {
                    methods.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        methods
    }

    #[test]
    fn every_rpc_has_exactly_one_rule() {
        let mut served = methods(nla_proto::DESCRIPTORS);
        assert!(served.len() > 30, "the descriptors were not read: {served:?}");
        served.extend(methods(tonic_health::pb::FILE_DESCRIPTOR_SET));
        served.extend(methods(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET));
        served.extend(methods(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET));
        // Newer descriptors of the health protocol know it; the server does not.
        served.remove("/grpc.health.v1.Health/List");
        let ruled: BTreeSet<String> = RULES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(ruled.len(), RULES.len(), "a method has two rules");
        assert_eq!(ruled, served);
    }

    #[test]
    fn edges_may_only_follow_renew_and_record() {
        let for_edges = |rule: &Rule| matches!(rule, Rule::Edge | Rule::EdgeStream);
        let edge: Vec<&str> = RULES.iter().filter(|(_, rule)| for_edges(rule)).map(|(path, _)| *path).collect();
        assert_eq!(edge, ["/nla.v1.Enrolment/Renew", "/nla.v1.EdgeSync/Sync", "/nla.v1.AuditIngest/Append"]);
    }

    #[test]
    fn what_is_not_listed_is_refused() {
        for path in
            ["", "/", "/nla.v1.Tokens/", "/nla.v1.Tokens/create", "/nla.v1.Tokens/Create/", "//nla.v1.Tokens/Create"]
        {
            assert_eq!(rule(path), None, "{path}");
        }
    }
}
