// Written by make_mnist_cnn_golden.py, which says what the numbers are; not to be edited by hand.
#pragma once

#include <array>

namespace distmnist::golden {

inline constexpr int kSteps = 20;
inline constexpr unsigned kWeightSeed = 1, kDataSeed = 2;
inline constexpr unsigned kImageStream = 0, kLabelStream = 1;

// The loss of each step, before its update; 50 samples a batch.
inline constexpr std::array<double, kSteps> kLossesBatch50 = {
    2.305021759604454,
    2.2678324770993066,
    2.2590629913603735,
    2.2311665291797107,
    2.1899046463695018,
    2.1877083419164185,
    2.1534291157735588,
    2.1213991648784738,
    2.1120489589199902,
    2.0718347883920325,
    2.0526114487936202,
    2.0388070258252684,
    1.9960323840958254,
    1.9518673305347805,
    1.9408400456974741,
    1.9283795103286272,
    1.9102037880010807,
    1.843455732625469,
    1.7974701741403194,
    1.8206669551859722,
};

// The loss of each step, before its update; 5 samples a batch.
inline constexpr std::array<double, kSteps> kLossesBatch5 = {
    2.2817089227955871,
    2.3070111439923457,
    2.2012864150235911,
    2.3260384285283093,
    2.2264613895181702,
    2.2807084613199069,
    2.2281962843050946,
    2.3833869712196583,
    2.2163667512442951,
    2.3104828206831463,
    2.0241658770492554,
    2.2109899097572376,
    2.1979373525833137,
    2.3020486764988428,
    2.0973254395025509,
    2.177458134741169,
    2.0796929903192063,
    2.1619502466522782,
    2.086801522920287,
    2.1798014199566618,
};

}  // namespace distmnist::golden
