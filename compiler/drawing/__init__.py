"""Pictures of programs, in the order of processing: diagram (what), grid, cabling and layout (where), paint and dot (how)."""
