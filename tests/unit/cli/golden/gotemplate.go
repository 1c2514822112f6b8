// What made gotemplate.json: reads templates (JSON strings, one a line), prints what Go makes of them for the value `row`.
// Build with the functions of Podman 4.3 and Go 1.19; run: go build -o oracle gotemplate.go && ./oracle < templates

package main
import ("bufio";"bytes";"encoding/json";"fmt";"os";"strings";"text/template")
type Inner struct { Status string; Pid int; OK bool; Ptr *Inner; Tags map[string]string; Ints []int; F float64 }
type Row struct { ID string; Names []string; N int; Empty []string; State Inner; Labels map[string]string; Rows []Inner; Any interface{}; M map[string]interface{} }
func (r Row) Label(n string) string { return r.Labels[n] }
func pad(s string, p, q int) string { if s == "" { return s }; return strings.Repeat(" ", p)+s+strings.Repeat(" ", q) }
func trunc(s string, n int) string { if len(s) < n { return s }; return s[:n] }
func main() {
  fm := template.FuncMap{"join":strings.Join,"lower":strings.ToLower,"upper":strings.ToUpper,"split":strings.Split,"title":strings.Title,"pad":pad,"truncate":trunc,
   "json": func(v interface{}) string { b := &bytes.Buffer{}; e := json.NewEncoder(b); e.SetEscapeHTML(false); e.Encode(v); return strings.TrimSpace(b.String()) }}
  row := Row{ID:"4c01é", Names:[]string{"web","x y"}, N:5, State:Inner{Status:"running",Pid:7,OK:true,Tags:map[string]string{"a":"1"},Ints:[]int{1,2,3},F:2.5}, Labels:map[string]string{"a":"1","B":"2"}, Rows:[]Inner{{Status:"s1",Pid:1,Ints:[]int{4}},{Status:"s2",Pid:2}}, Any: nil, M: map[string]interface{}{"s":"str","n":3,"b":true,"nil":nil,"l":[]interface{}{1,"a",nil},"m":map[string]interface{}{"z":1,"a":"q"},"f":1.5}}
  sc := bufio.NewScanner(os.Stdin); sc.Buffer(make([]byte,1<<20),1<<26)
  w := bufio.NewWriter(os.Stdout); defer w.Flush()
  for sc.Scan() {
    var t string; json.Unmarshal(sc.Bytes(), &t)
    out := map[string]string{}
    func() {
      defer func() { if r := recover(); r != nil { out["panic"] = fmt.Sprint(r) } }()
      tm, err := template.New("ps").Funcs(fm).Parse(t)
      if err != nil { out["err"] = err.Error(); return }
      var b bytes.Buffer
      if err := tm.Execute(&b, row); err != nil { out["err"] = err.Error(); return }
      out["ok"] = b.String()
    }()
    j, _ := json.Marshal(out); w.Write(j); w.WriteByte('\n')
  }
}
