//! `.gitlab-ci.yml`: load, merge, rules, variables; and the pipeline state machine.
