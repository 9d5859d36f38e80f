package h2connect

func foreignServerWanted() bool { return false }
