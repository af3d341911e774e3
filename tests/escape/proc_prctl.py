# goal: undo the settings of the process
# layer: seccomp
# expect: contained:ok
for option, value in ((4, 1), (0x59616D61, -1), (35, 1), (28, 0), (47, 2), (38, 0), (22, 0), (1, 0), (36, 1), (41, 0), (24, 1), (8, 1), (52, 0), (25, 1), (26, 1),
                      (40, 0), (50, 0), (53, 0), (54, 0), (55, 0), (56, 0), (57, 0), (59, 1), (60, 0), (62, 1), (65, 0), (66, 0), (67, 1), (68, 0), (0x41555856, 0)):
    tried("prctl %d" % option, sc("prctl", option, value, 0, 0, 0))
tried("personality", sc("personality", 0x40000))
tried("arch_prctl", sc("arch_prctl", 0x1022, 18))
