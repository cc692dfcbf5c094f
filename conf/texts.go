package conf

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// Text of one file that a configuration was read from.
type Text struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// LoadTexts is Load that also gives what it read, the main file first: even if
// the files change meanwhile, this is what the configuration says.
func LoadTexts(path, node string) (*Config, []Text, Problems) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, unreadable(path, err)
	}
	texts := []Text{{path, text}}
	kept := realFiles
	kept.read = func(name string) (string, error) {
		t, err := realFiles.read(name)
		if err == nil {
			texts = append(texts, Text{name, t})
		}
		return t, err
	}
	c, ps := parse(kept, path, text, node, manyRows)
	return c, texts, ps
}

// ParseTexts reads a configuration from texts of LoadTexts as if their files
// still held them; it looks at no file.
func ParseTexts(texts []Text, node string) (*Config, Problems) {
	if len(texts) == 0 {
		return nil, Problems{{What: "there is no text to read"}}
	}
	kept := files{
		read: func(name string) (string, error) {
			for _, t := range texts {
				if filepath.Clean(t.File) == name {
					return t.Text, nil
				}
			}
			return "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		},
		glob: func(pattern string) ([]string, error) {
			var names []string
			for _, t := range texts[1:] {
				ok, err := filepath.Match(pattern, filepath.Clean(t.File))
				if err != nil {
					return nil, err
				}
				if ok {
					names = append(names, t.File)
				}
			}
			return names, nil
		},
	}
	return parse(kept, texts[0].File, texts[0].Text, node, manyRows)
}
