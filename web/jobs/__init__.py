"""Jobs: whole files that are read and priced by a process of their own, under names of ours."""
