"""The built-in runners; they use nothing but `majordomo2.abc`."""
