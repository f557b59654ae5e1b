//! What a run does: pipeline files, stages as DataFusion operators, planning, running, resuming.
