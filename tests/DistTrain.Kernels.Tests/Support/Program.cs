DistTrain.Kernels.Tests.KernelDigest.Print();
